"""Where the parameters of a new run start."""

import logging
from itertools import islice

import torch
from torch import Tensor

from spyv4.errors import CheckpointError, ConfigError
from spyv4.network.spyv4 import SPYv4
from spyv4.weights import load_weights
from training.config import TrainingConfig
from training.data import TrainingLoader
from training.warm_start import is_twin, start_from_twin

logger = logging.getLogger(__name__)
TWIN_PICTURES = 64


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
    if is_twin(given) and not is_twin(model):
        if given.folded:
            raise CheckpointError(f"{source} is folded for inference; use the weights of a run")
        start_from_twin(model, given, _some_pictures(loader))
        return model
    if given.folded:
        model.fold()
    start = given.state_dict()
    if given.config.class_names != config.model.class_names:
        logger.warning("the classes are not those of %s: the heads start anew", source)
        fresh = model.state_dict()
        start |= {name: fresh[name] for name in start if name.startswith("heads.")}
    try:
        model.load_state_dict(start)
    except RuntimeError as error:
        raise CheckpointError(
            f"{source} does not fit the configured network: {str(error).splitlines()[-1].strip()}"
        ) from error
    return model


def _some_pictures(loader: TrainingLoader) -> Tensor:
    """Training pictures as the network sees them, [B, 3, H, W], 0..1."""
    batches: list[Tensor] = []
    for batch in islice(loader.batches(0), TWIN_PICTURES):
        batches.append(batch.images)
        if sum(map(len, batches)) >= TWIN_PICTURES:
            break
    return torch.cat(batches).float() / 255
