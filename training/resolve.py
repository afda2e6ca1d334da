"""The configuration of a run from defaults, a TOML file, the command line and a checkpoint."""

import argparse
import copy
import logging
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from spyv4.config import ModelConfig, NeuronConfig, model_preset
from spyv4.errors import CheckpointError, ConfigError
from spyv4.validation import from_mapping, require, to_mapping
from spyv4.weights import load_weights
from training.choices import DEFAULT_RECIPE
from training.config import TrainingConfig

logger = logging.getLogger(__name__)
TWIN: dict[str, Any] = {
    "model": {"neuron": {"kind": "leaky-relu"}, "reads": 1, "readout": "last"},
    "learner": {"kind": "plain", "updates": 1},
    "reads": 1,
    "min_reads": 0,
}
"""What makes a recipe that of the non-spiking twin."""
OF_SPIKES = ("neuron", "readout")
"""What a recipe says of a network that starts from its twin; else the initial weights say it."""


def recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe that ships with the package, as plain values."""
    file = files("training").joinpath("recipes", f"{name}.toml")
    return _parse_toml(file.read_text(encoding="utf-8"), f"the recipe {name}")


def resolve_config(
    arguments: argparse.Namespace,
    saved: dict[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
) -> TrainingConfig:
    """The recipe (of a resumed run: its own settings), then the TOML file, then the command line.

    Args:
        arguments: of the command line.
        saved: the configuration of the run that is resumed, as plain values.
        class_names: those of the data file, which go before the TOML file and after `--set`.
    """
    values = _stated(arguments, class_names)
    overrides = values.pop("model", {})
    require(isinstance(overrides, dict), f"model must be a table of values, not {overrides!r}")
    if arguments.image_size is not None:
        overrides["image_size"] = arguments.image_size
    if saved is not None:
        if arguments.model is not None:
            overrides["name"] = arguments.model
        if arguments.twin and from_mapping(TrainingConfig, saved).model.neuron.spikes:
            _merge(overrides, {"neuron": TWIN["model"]["neuron"]})  # refused
        changes = values | ({"model": overrides} if overrides else {})
        return _resumed(saved, _merged(_of_recipe(arguments), changes), arguments)
    if "reads" in values:
        # Trained for so many, it does best with as many.
        overrides.setdefault("reads", values["reads"])
    resolved = recipe(arguments.recipe or DEFAULT_RECIPE)
    if arguments.twin:
        _merge(resolved, TWIN)
    of_recipe = resolved.pop("model")
    _merge(resolved, values)
    resolved["model"] = _resolve_model(arguments, of_recipe, overrides)
    return _without_late_mosaics(from_mapping(TrainingConfig, resolved), arguments.close_mosaic)


def _of_recipe(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a recipe that is named for a resumed run says, but for the network, which it keeps."""
    if arguments.recipe is None:
        return {}
    values = _merged(recipe(arguments.recipe), TWIN if arguments.twin else {})
    del values["model"]
    return values


def _without_late_mosaics(config: TrainingConfig, epochs: int | None) -> TrainingConfig:
    """No mosaics in the last `epochs`; None leaves it to the configuration."""
    if epochs is None:
        return config
    mosaic_epochs = max(0, config.epochs - epochs)
    return replace(config, augmentation=replace(config.augmentation, mosaic_epochs=mosaic_epochs))


def _stated(arguments: argparse.Namespace, class_names: Sequence[str] | None) -> dict[str, Any]:
    """What the TOML file and the command line say, but for the command's `model`."""
    values: dict[str, Any] = {}
    if arguments.config is not None:
        _merge(values, _parse_toml(_read_text(arguments.config), str(arguments.config)))
    if class_names is not None:
        _merge(values, {"model": {"class_names": list(class_names)}})
    for text in arguments.set:
        _merge(values, _parse_toml(text, f"--set {text}"))
    for name in ("epochs", "batch_size", "reads", "seed", "freeze", "precision"):
        if getattr(arguments, name) is not None:
            values[name] = getattr(arguments, name)
    for table, key, name in (
        ("optimizer", "name", "optimizer"),
        ("optimizer", "learning_rate", "learning_rate"),
        ("optimizer", "schedule", "schedule"),
        ("learner", "kind", "learner"),
    ):
        if getattr(arguments, name) is not None:
            _merge(values, {table: {key: getattr(arguments, name)}})
    return values


def _resumed(
    saved: dict[str, Any], changes: dict[str, Any], arguments: argparse.Namespace
) -> TrainingConfig:
    """The configuration of a resumed run: `saved`, and where it is allowed what is said anew."""
    before = from_mapping(TrainingConfig, saved)
    if changes.get("precision") == "auto":  # was chosen when the run began
        del changes["precision"]
    config = from_mapping(TrainingConfig, _merged(saved, changes))
    config = _without_late_mosaics(config, arguments.close_mosaic)
    if config.model != before.model:
        raise ConfigError(
            "a resumed run keeps its network; leave out what concerns the model, or start a new "
            "run with --init-weights"
        )
    differences = [
        f"{key} {new} instead of {old}"
        for key, old, new in _differences(to_mapping(before), to_mapping(config))
    ]
    if differences and not arguments.allow_config_change:
        raise ConfigError(
            f"the run was begun with other settings, now there are {', '.join(differences)}; "
            "resume with the same ones, or add --allow-config-change"
        )
    for difference in differences:
        logger.warning("from here on %s", difference)
    return config


def _differences(
    old: dict[str, Any], new: dict[str, Any], where: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Name, old and new value of each setting that differs."""
    for key, value in old.items():
        if isinstance(value, dict):
            yield from _differences(value, new[key], f"{where}{key}.")
        elif value != new[key]:
            yield where + key, value, new[key]


def _resolve_model(
    arguments: argparse.Namespace, of_recipe: dict[str, Any], overrides: dict[str, Any]
) -> dict[str, Any]:
    """The preset as the recipe has it, or the initial weights' network, changed by `overrides`."""
    if arguments.init_weights is not None:
        base = load_weights(arguments.init_weights).config
        if arguments.model is not None and arguments.model != base.name:
            raise CheckpointError(
                f"{arguments.init_weights} holds a {base.name} network, not {arguments.model}"
            )
        # The weights say what they are, but for the neurons where a twin's have none.
        wanted = overrides.get("neuron", {}).get("kind", base.neuron.kind)
        to_spikes = not base.neuron.spikes and (not arguments.twin or wanted != base.neuron.kind)
        of_recipe = {key: of_recipe[key] for key in OF_SPIKES if to_spikes and key in of_recipe}
        if to_spikes:
            base = replace(base, neuron=NeuronConfig(), reads=ModelConfig().reads)
    else:
        base = model_preset(arguments.model or "spyv4")
    if "image_size" in overrides:
        size = from_mapping(ModelConfig, {"image_size": overrides["image_size"]}).image_size
        # What has learned its anchors measures in pixels, whatever the size of the picture.
        learned = arguments.init_weights is not None
        base = replace(base, image_size=size) if learned else base.resized(size)
    values = to_mapping(base)
    _merge(values, of_recipe)
    _merge(values, overrides)
    return values


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; save it as such") from error


def _parse_toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}") from error


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of nested tables with the changes."""
    changed = copy.deepcopy(values)
    _merge(changed, changes)
    return changed


def _merge(values: dict[str, Any], changes: dict[str, Any]) -> None:
    """Update nested tables in place."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value
