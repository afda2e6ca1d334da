"""The recipes against the reference, field by field."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spyv4.config import model_preset
from training.choices import RECIPES
from training.commands.train import train_parser
from training.config import TrainingConfig
from training.resolve import resolve_config


def resolved(name: str, *more: str) -> TrainingConfig:
    return resolve_config(train_parser().parse_args(["--voc-root", ".", "--recipe", name, *more]))


def test_every_file_is_a_recipe() -> None:
    folder = Path(__file__).parents[3] / "training" / "recipes"
    assert {path.stem for path in folder.glob("*.toml")} == set(RECIPES)


PAPER: dict[str, Any] = {
    # Methods: Adagrad at 1e-3, batch 32, mosaic of four on every sample for 200 cycles, smoothing.
    "batch_size": 32,
    "reads": 4,
    "optimizer.name": "adagrad",
    "optimizer.learning_rate": 1e-3,
    "optimizer.schedule": "constant",
    "augmentation.mosaic_probability": 1.0,
    "augmentation.mosaic_epochs": 200,
    # Reference 1 and 2: 416 x 416, LTC neurons, rates from the sum, threshold 1, and its surrogate.
    "model.image_size": (416, 416),
    "model.width_multiple": 1.0,
    "model.neuron.kind": "ltc",
    "model.neuron.fusion": "sum",
    "model.neuron.threshold": 1.0,
    "model.neuron.surrogate_gamma": 0.5,
    "model.neuron.surrogate_h": 0.15,
    "model.neuron.surrogate_sigma": 0.3,
    "model.neuron.surrogate_scale": 6.0,
    "model.readout": "last",
    # Reference 3: one alpha, beta 1/2, gradient of loss and penalty clipped to 1, W <- Wbar.
    "learner.kind": "fptt",
    "learner.updates": 0,
    "learner.alpha": 0.1,
    "learner.update_alpha": None,
    "learner.beta": 0.5,
    "learner.gradient_clip": 1.0,
    "learner.adopt_running_mean": True,
    # Reference 4b.
    "model.codec": "yolov4",
    "model.unused_anchors": ((10, 14),),
    "loss.box_weight": 1.0,
    "loss.objectness_weight": 1.0,
    "loss.class_weight": 1.0,
    "loss.balance": (1.0, 1.0),
    "loss.ignore_iou": 0.5,
    "model.init.conv_std": 0.02,
    "model.init.norm_std": 0.02,
    "model.neuron.rate_bias": 0.0,
    "model.neuron.current_bias": 0.0,
    "model.dropout": 0.1,
    "augmentation.aspect": 0.3,
    "augmentation.scale": (0.25, 2.0),
    "augmentation.hue": 0.1,
    "augmentation.saturation": 0.5,
    "augmentation.brightness": 0.5,
    "augmentation.flip_probability": 0.5,
}
FINETUNE: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 16,
    "freeze_batch_norm": False,
    "freeze": "nothing",
    "learner.kind": "plain",
    "learner.updates": 1,
    "optimizer.name": "adamw",
    "optimizer.learning_rate": 1e-3,
    "optimizer.schedule": "cosine",
    "optimizer.warmup_steps": 15,
    "augmentation.mosaic_epochs": 7,
}
RELEASED = PAPER | {"learner.update_alpha": 0.5, "augmentation.mosaic_probability": 0.5}


# The last one is what the README's figure was measured with.
RECIPE_VALUES = [("paper", PAPER), ("released", RELEASED), ("finetune", FINETUNE)]


@pytest.mark.parametrize(("name", "expected"), RECIPE_VALUES)
def test_recipe_is_what_the_reference_or_a_measurement_says(
    name: str, expected: dict[str, Any]
) -> None:
    config = resolved(name)
    for key, value in expected.items():
        found: Any = config
        for part in key.split("."):
            found = getattr(found, part)
        assert found == value, key


def test_anchors_are_those_of_tiny_yolov4() -> None:
    heads = resolved("paper").model.heads
    assert [(head.layer, head.anchors) for head in heads] == [
        ("p5_out", ((81, 82), (135, 169), (344, 319))),
        ("p4_out", ((23, 27), (37, 58), (81, 82))),
    ]


def test_default_recipe_is_the_papers() -> None:
    arguments = train_parser().parse_args(["--voc-root", "."])
    assert resolve_config(arguments) == resolved("paper")


def test_initial_weights_say_what_their_network_is() -> None:
    """Their codec, neurons and read-out stay, whatever the recipe would have."""
    config = resolved("paper", "--init-weights", "spyv4-nano")
    assert (config.model.codec, config.model.readout) == ("scaled", "leaky")
    assert config.model.dropout == 0
    assert config.learner.kind == "fptt"


def test_anchors_follow_the_size_of_pictures_unless_weights_have_learned_theirs() -> None:
    start, size = ("--init-weights", "spyv4-nano"), ("--image-size", "160", "160")
    given, smaller = resolved("nano", *start).model, resolved("nano", *start, *size).model
    assert (given.image_size, smaller.image_size) == ((320, 320), (160, 160))
    assert smaller.heads == given.heads
    fresh = resolved("nano", "--model", "spyv4-nano", *size).model
    halves = [side / 2 for side in model_preset("spyv4-nano").heads[0].anchors[0]]
    assert fresh.heads[0].anchors[0] == pytest.approx(halves, abs=0.06)  # kept to a tenth


def test_neurons_learn_as_the_recipe_says_unless_the_weights_have_neurons() -> None:
    wide = (1.0, 0.0, 1.0)
    for start, expected in (
        (("--model", "spyv4-nano"), wide),
        (("--init-weights", "spyv4-small-twin"), wide),
        (("--init-weights", "spyv4-nano"), (0.5, 0.15, 0.3)),
    ):
        neuron = resolved("nano", *start).model.neuron
        found = (neuron.surrogate_gamma, neuron.surrogate_h, neuron.surrogate_sigma)
        assert (neuron.kind, found) == ("ltc", expected), start


def test_a_preset_keeps_what_the_recipe_leaves_open() -> None:
    model, preset = resolved("nano", "--model", "spyv4-nano").model, model_preset("spyv4-nano")
    assert model == replace(preset, neuron=model.neuron)
    plain = resolved("nano").model
    assert (plain.width_multiple, plain.image_size) == (1.0, (416, 416))
    assert (plain.codec, plain.readout) == ("scaled", "leaky")
