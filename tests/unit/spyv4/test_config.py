import json
from typing import Any

import pytest

from spyv4.config import (
    MODEL_PRESETS,
    HeadConfig,
    ModelConfig,
    NeuronConfig,
    check_image_size,
    check_reads,
    model_preset,
)
from spyv4.errors import ConfigError
from spyv4.options import ReadOptions
from spyv4.validation import from_mapping, to_mapping
from tests.helpers.tiny_model import tiny_config
from training.config import (
    AugmentationConfig,
    LearnerConfig,
    LossConfig,
    OptimizerConfig,
    TrainingConfig,
)


@pytest.mark.parametrize("name", MODEL_PRESETS)
def test_presets_survive_json(name: str) -> None:
    config = model_preset(name)
    text = json.dumps(to_mapping(config))
    assert from_mapping(ModelConfig, json.loads(text)) == config


def test_training_configuration_survives_json() -> None:
    config = TrainingConfig(reads=3, learner=LearnerConfig(alpha=0.2))
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
        (ModelConfig, {"neuron": {"fusion": "product"}}, "neuron.fusion must be 'sum' or 'concat'"),
        (ModelConfig, {"readout": "first"}, "readout must be 'last' or"),
        (ModelConfig, {"class_names": "cat"}, "class_names must be a valid array, not 'cat'"),
        (ModelConfig, {"class_names": [1]}, "class_names.0 must be a valid string, not 1"),
        (ModelConfig, {"reads": 2.5}, "reads must be a valid integer, not 2.5"),
        (ModelConfig, {"reads": True}, "reads must be a valid integer, not True"),
        (ModelConfig, {"width_multiple": "1"}, "width_multiple must be a valid number, not '1'"),
        (ModelConfig, {"neuron": {"kind": "alif"}}, "neuron.kind must be 'ltc', 'adaptive-ltc'"),
        (ModelConfig, {"heads": [{"layer": "p5_out", "anchors": [[1, 2, 3]]}]}, "at most 2 items"),
        (ModelConfig, {"image_size": [64]}, "image_size.1 is missing"),
        (ModelConfig, {"heads": [{"layre": "x"}]}, "did you mean 'heads.0.layer'"),
        (ModelConfig, [], "must be a table of values, not"),
        (ModelConfig, {"reads": 0, "widht": 1}, "reads must be at least 1, not 0; unknown"),
        (TrainingConfig, {"optimizer": {"lerning_rate": 1}}, "did you mean 'optimizer.learning_"),
        (TrainingConfig, {"augmentation": {"mosaic_epochs": "all"}}, "mosaic_epochs must be"),
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
        (NeuronConfig, {"threshold": 0.0}, "threshold must be greater than 0, not 0.0"),
        (NeuronConfig, {"threshold": float("nan")}, "threshold must be a finite number"),
        (NeuronConfig, {"surrogate_sigma": -1.0}, "surrogate_sigma"),
        (NeuronConfig, {"surrogate_h": 1.5}, "surrogate_h must be at most 1, not 1.5"),
        (ModelConfig, {"class_names": ()}, "class_names must have at least 1 item"),
        (ModelConfig, {"class_names": ("cat", "cat")}, "must not repeat"),
        (ModelConfig, {"width_multiple": 0.0}, "width_multiple must be greater than 0"),
        (ModelConfig, {"readout_rate": 0.0}, "readout_rate"),
        (HeadConfig, {"layer": "p5_out", "anchors": ((0.0, 5.0),)}, "anchors.0.0 must be greater"),
        (HeadConfig, {"layer": "p5_out", "anchors": ()}, "anchors must have at least 1 item"),
        (ModelConfig, {"reads": 0}, "reads must be at least 1, not 0"),
        (LearnerConfig, {"alpha": 0.0}, "alpha must be greater than 0"),
        (LearnerConfig, {"beta": 0.0}, "beta must be greater than 0, not 0.0"),
        (LearnerConfig, {"updates": -1}, "updates must be at least 0"),
        (LearnerConfig, {"gradient_clip": -1.0}, "gradient_clip"),
        (AugmentationConfig, {"scale": (2.0, 1.0)}, "augmentation.scale must be two rising"),
        (LossConfig, {"box_weight": -1.0}, "box_weight"),
        (LossConfig, {"label_smoothing": 2.0}, "label_smoothing must be at most 1"),
        (OptimizerConfig, {"learning_rate": 0.0}, "learning_rate must be greater"),
        (OptimizerConfig, {"weight_decay": -1.0}, "weight_decay"),
        (OptimizerConfig, {"final_share": 2.0}, "final_share"),
        (OptimizerConfig, {"warmup_steps": -1}, "warmup_steps"),
        (OptimizerConfig, {"ema_decay": 1.0}, "ema_decay"),
        (TrainingConfig, {"epochs": 0}, "epochs must be at least 1, not 0"),
        (TrainingConfig, {"batch_size": 0}, "batch_size"),
        (TrainingConfig, {"reads": 2, "min_reads": 3}, r"min_reads must be in 0..2 \(reads\)"),
        (TrainingConfig, {"seed": -1}, "seed"),
        (TrainingConfig, {"learner": LearnerConfig(kind="eprop")}, "detector must not be eprop"),
        (TrainingConfig, {"loss": LossConfig(balance=(1.0,))}, "one number a head, 2, not 1"),
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


def test_options_are_those_of_the_weights_but_for_what_is_given() -> None:
    config = tiny_config(reads=3, score_threshold=0.17)
    assert ReadOptions().resolved(config) == ReadOptions(3, 0.17, 0.3)
    assert ReadOptions(5, 0.0).resolved(config) == ReadOptions(5, 0.0, 0.3)
