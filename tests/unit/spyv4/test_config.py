import json
from typing import Any

import pytest

from spyv4.config import (
    MODEL_PRESETS,
    ModelConfig,
    NeuronConfig,
    check_image_size,
    check_reads,
    from_mapping,
    model_preset,
    to_mapping,
)
from spyv4.errors import ConfigError
from training.config import FPTTConfig, LossConfig, OptimizerConfig, TrainingConfig


@pytest.mark.parametrize("name", MODEL_PRESETS)
def test_presets_survive_json(name: str) -> None:
    config = model_preset(name)
    text = json.dumps(to_mapping(config))
    assert from_mapping(ModelConfig, json.loads(text)) == config


def test_training_configuration_survives_json() -> None:
    config = TrainingConfig(reads=3, fptt=FPTTConfig(alpha=0.2))
    assert from_mapping(TrainingConfig, json.loads(json.dumps(to_mapping(config)))) == config


def test_missing_keys_take_their_defaults() -> None:
    assert from_mapping(ModelConfig, {}) == ModelConfig()
    assert from_mapping(ModelConfig, {"neuron": {"threshold": 2}}).neuron == NeuronConfig(
        threshold=2.0
    )


def test_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'yolo'; choose one of: spyv4, spyv4-nano"):
        model_preset("yolo")


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (ModelConfig, {"widht_multiple": 1}, "'widht_multiple'; did you mean 'width_multiple'"),
        (ModelConfig, {"neuron": {"treshold": 1}}, "did you mean 'neuron.threshold'"),
        (ModelConfig, {"zzz": 1}, "unknown configuration key 'zzz'$"),
        (ModelConfig, {"neuron": 3}, "neuron must be a table"),
        (ModelConfig, {"neuron": {"fusion": "product"}}, r"neuron.fusion must be one of \('sum'"),
        (ModelConfig, {"readout": "first"}, "readout must be one of"),
        (ModelConfig, {"class_names": "cat"}, "class_names must be a list"),
        (ModelConfig, {"class_names": [1]}, "class_names must be of type str, not 1"),
        (ModelConfig, {"reads": 2.5}, "reads must be of type int, not 2.5"),
        (ModelConfig, {"reads": True}, "reads must be of type int, not True"),
        (ModelConfig, {"width_multiple": "1"}, "width_multiple must be of type float"),
        (ModelConfig, {"neuron": {"adaptive": 1}}, "neuron.adaptive must be of type bool, not 1"),
        (ModelConfig, {"anchors": [[1, 2, 3]]}, "anchors must be a list of 2"),
        (ModelConfig, {"image_size": [64]}, "image_size must be a list of 2"),
        (ModelConfig, [], "must be a table of values"),
        (TrainingConfig, {"optimizer": {"lerning_rate": 1}}, "did you mean 'optimizer.learning_"),
        (TrainingConfig, {"augmentation": {"mosaic_epochs": "all"}}, "mosaic_epochs must be of"),
    ],
)
def test_mistakes_are_named(cls: type, values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(cls, values)


def test_optional_values_may_be_none() -> None:
    config = from_mapping(TrainingConfig, {"augmentation": {"mosaic_epochs": None}})
    assert config.augmentation.mosaic_epochs is None


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (NeuronConfig, {"threshold": 0.0}, "neuron.threshold must be greater than 0, not 0.0"),
        (NeuronConfig, {"threshold": float("nan")}, "neuron.threshold"),
        (NeuronConfig, {"surrogate_sigma": -1.0}, "neuron.surrogate_sigma"),
        (NeuronConfig, {"surrogate_h": 1.5}, "neuron.surrogate_h must be in 0..1, not 1.5"),
        (ModelConfig, {"class_names": ()}, "at least one class"),
        (ModelConfig, {"class_names": ("cat", "cat")}, "must not repeat"),
        (ModelConfig, {"width_multiple": 0.0}, "width_multiple must be greater than 0"),
        (ModelConfig, {"readout_rate": 0.0}, "readout_rate"),
        (ModelConfig, {"anchors": ((0.0, 5.0),) * 6}, "positive sides"),
        (ModelConfig, {"anchors_p5": ()}, "anchors_p5 must name at least one"),
        (ModelConfig, {"anchors_p4": (6,)}, r"anchors_p4 must index the 6 anchors, not \(6,\)"),
        (ModelConfig, {"reads": 0}, "reads must be a whole number from 1 to 256, not 0"),
        (FPTTConfig, {"alpha": -0.1}, "fptt.alpha must be at least 0"),
        (FPTTConfig, {"beta": 0.0}, r"fptt.beta must be in \(0, 1\], not 0.0"),
        (FPTTConfig, {"updates": -1}, "fptt.updates"),
        (FPTTConfig, {"gradient_clip": -1.0}, "fptt.gradient_clip"),
        (LossConfig, {"box_weight": -1.0}, "loss.box_weight"),
        (LossConfig, {"label_smoothing": 2.0}, "loss.label_smoothing must be in 0..1"),
        (OptimizerConfig, {"learning_rate": 0.0}, "learning_rate must be greater"),
        (OptimizerConfig, {"weight_decay": -1.0}, "weight_decay"),
        (OptimizerConfig, {"final_share": 2.0}, "final_share"),
        (OptimizerConfig, {"warmup_steps": -1}, "warmup_steps"),
        (OptimizerConfig, {"ema_decay": 1.0}, "ema_decay"),
        (TrainingConfig, {"epochs": 0}, "epochs must be at least 1, not 0"),
        (TrainingConfig, {"batch_size": 0}, "batch_size"),
        (TrainingConfig, {"reads": 2, "min_reads": 3}, r"min_reads must be in 0..2 \(reads\)"),
        (TrainingConfig, {"seed": -1}, "seed"),
        (TrainingConfig, {"repeat_threshold": 1.5}, "repeat_threshold"),
    ],
)
def test_values_out_of_range_are_named(cls: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cls(**values)


@pytest.mark.parametrize("size", [(0, 32), (32, 33), (-32, 32), (32,), (32.0, 32)])
def test_image_sizes_off_the_grid_are_refused(size: Any) -> None:
    with pytest.raises(ConfigError, match="multiples of 32"):
        check_image_size(size)


def test_limits_themselves_are_accepted() -> None:
    check_image_size((32, 4096))
    check_reads(1)
    check_reads(256)
    with pytest.raises(ConfigError, match="not 257"):
        check_reads(257)
