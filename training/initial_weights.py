"""Where the parameters of a new run start."""

import logging
from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional

from spyv4.errors import CheckpointError, ConfigError
from spyv4.network.spyv4 import SPYv4
from spyv4.weights import load_weights
from training.config import TrainingConfig
from training.data import TrainingLoader
from training.warm_start import start_from_twin

logger = logging.getLogger(__name__)
TWIN_PICTURES = 64
OF_BOX = 5
"""Outputs of an anchor that are no class's: four of the box, and objectness."""


def with_initial_weights(
    model: SPYv4, config: TrainingConfig, source: str | None, loader: TrainingLoader
) -> SPYv4:
    """The network with the parameters that a run starts from.

    Args:
        model: with random parameters; changed in place.
        config: of the run.
        source: name of shipped weights, or a file; None for the random ones.
        loader: the run's pictures, to match thresholds on where the source is a twin.

    Raises:
        CheckpointError: if the source cannot be read, or is of another network.
        ConfigError: if statistics shall stay that there are none of.
    """
    if source is None:
        if config.freeze_batch_norm:
            raise ConfigError("freeze_batch_norm needs --init-weights: statistics to keep")
        return model
    given = load_weights(source)
    own, other = (
        (c.neuron.kind, c.neuron.steps, c.width_multiple) for c in (model.config, given.config)
    )
    of_levels = model.config.neuron.kind != "leaky-relu"  # as spikes are
    if of_levels and not given.config.neuron.spikes and own != other:
        if given.folded:
            raise CheckpointError(f"{source} is folded for inference; use the weights of a run")
        start_from_twin(model, given, some_pictures(loader, config.model.image_size))
        return model
    if given.folded:
        model.fold()
    start = given.state_dict()
    if given.config.class_names != config.model.class_names:
        known, names = given.config.class_names, config.model.class_names
        new = ", ".join(name for name in names if name not in known)
        logger.warning(
            "the classes are not those of %s; these start anew: %s", source, new or "none"
        )
        fresh = model.state_dict()
        for name in (name for name in start if name.startswith("heads.")):
            start[name] = _outputs_of_classes(start[name], known, fresh[name], names)
    try:
        model.load_state_dict(start)
    except RuntimeError as error:
        raise CheckpointError(
            f"{source} does not fit the configured network: {str(error).splitlines()[-1].strip()}"
        ) from error
    return model


def some_pictures(loader: TrainingLoader, image_size: tuple[int, int]) -> Tensor:
    """Training pictures as the network sees them, [B, 3, H, W], 0..1, all of one size."""
    batches: list[Tensor] = []
    for batch in islice(loader.batches(0), TWIN_PICTURES):
        batches.append(
            functional.interpolate(batch.images.cpu() / 255, image_size, mode="bilinear")
        )
        if sum(map(len, batches)) >= TWIN_PICTURES:
            break
    return torch.cat(batches)


def _outputs_of_classes(
    given: Tensor, known: Sequence[str], fresh: Tensor, names: Sequence[str]
) -> Tensor:
    """Parameters of a head for other classes.

    Those of box and objectness, and of the classes that the weights know by name, stay.

    Args:
        given: of the weights, [anchors * (5 + known classes), ...].
        known: the classes of the weights.
        fresh: random ones, [anchors * (5 + classes), ...].
        names: the classes to be.

    Returns:
        Of the shape of `fresh`, or `given` as it is if the number of anchors differs.
    """
    old = given.reshape(-1, OF_BOX + len(known), *given.shape[1:])
    new = fresh.reshape(-1, OF_BOX + len(names), *fresh.shape[1:]).clone()
    if old.shape[0] != new.shape[0] or old.shape[2:] != new.shape[2:]:
        return given
    new[:, :OF_BOX] = old[:, :OF_BOX]
    for place, name in enumerate(names):
        if name in known:
            new[:, OF_BOX + place] = old[:, OF_BOX + known.index(name)]
    return new.reshape(fresh.shape)
