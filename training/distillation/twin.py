"""The non-spiking twin as a teacher: layer by layer, and in what its heads answer.

It has the spiking network's layers, so every layer has a goal of its own: to spike where the twin's
channel is active. That is said at once to the shallow layers, too, which hear of the boxes only
through all that comes after them.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from spyv4.errors import CheckpointError, ConfigError
from spyv4.heads.levels import split_levels
from spyv4.network.readout import Maps
from spyv4.network.table import LAYER_NAMES, times_as_wide
from spyv4.weights import load_weights
from training.config import TrainingConfig
from training.distillation.loss import correlation

_BOX, _OBJECTNESS = slice(0, 4), slice(4, 5)
_SHARE = 4
"""One picture of so many tells what the layers do: all of them would double the time of a step."""


class TwinView(NamedTuple):
    """What the twin makes of a batch.

    Attributes:
        maps: raw head maps.
        messages: activations of its layers, shallow to deep, [B, C, H, W] each.
    """

    maps: Maps
    messages: tuple[Tensor, ...]


class TwinTeacher:
    """The twin of the network that is trained, asked about every batch.

    It may have fewer channels: of a network k times as wide, k channels have one goal.

    Args:
        source: name of shipped weights, or a file.
        config: of the run.
        device: where the pictures are.
        dtype: of the twin's activations.
        compile_step: compile the twin, and the distance from it.

    Attributes:
        fingerprint: tells it from other twins.

    Raises:
        CheckpointError: if the source cannot be read, or is no twin of that network.
        ConfigError: if the network that is trained is such a twin itself, or not a whole number of
            times as wide.
    """

    def __init__(
        self,
        source: str,
        config: TrainingConfig,
        device: torch.device,
        dtype: torch.dtype,
        *,
        compile_step: bool,
    ) -> None:
        twin, model = load_weights(source), config.model
        if twin.config.neuron.spikes:
            raise CheckpointError(f"{source} spikes; a twin teacher is what --twin trains")
        if model.neuron.kind == "leaky-relu":
            raise ConfigError(
                "a twin teacher teaches what spikes, or is about to; leave out --twin-teacher"
            )
        for name in ("class_names", "heads", "codec"):
            own, wanted = getattr(twin.config, name), getattr(model, name)
            if own != wanted:
                raise CheckpointError(
                    f"{source} is no twin of the network that is trained: its {name} is {own}, "
                    f"not {wanted}"
                )
        self._times = times_as_wide(model.width_multiple, twin.config.width_multiple)
        if not twin.folded:
            twin.fold()
        digest = sha256()
        for value in twin.state_dict().values():
            digest.update(value.contiguous().numpy().tobytes())
        self.fingerprint = digest.hexdigest()
        self._twin = twin.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._model, self._weights, self._dtype = model, config.distillation, dtype
        self._look: Callable[[Tensor], TwinView] = self._plain_look
        self._distance: Callable[..., Tensor] = self._plain_distance
        if compile_step:
            self._look = torch.compile(self._look)
            self._distance = torch.compile(self._distance)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> TwinView:
        """Look at uint8 RGB pictures, [B, 3, H, W], sides multiples of 32."""
        return self._look(images)

    def distance(self, maps: Maps, messages: Sequence[Tensor], view: TwinView) -> Tensor:
        """How far a read is from the twin, a scalar.

        Of the answers, at every cell and anchor, with o the twin's objectness: KL(o, objectness) +
        o (sum over classes of KL(twin's, class) + smooth L1 of the raw box), summed and divided by
        the sum of o, for each head. Of the layers: 1 - the correlation between spikes and the
        twin's activation that its channel stands for, over a quarter of the pictures of this
        process and places, mean over channels and layers.

        Args:
            maps: raw head maps.
            messages: spikes of all layers, shallow to deep.
            view: the twin's, of the same pictures.
        """
        raw, taught = (
            [level.raw for level in split_levels(each, self._model)] for each in (maps, view.maps)
        )
        return self._distance(raw, taught, list(messages), list(view.messages))

    def _plain_look(self, images: Tensor) -> TwinView:
        low = self._dtype == torch.bfloat16
        with torch.autocast(images.device.type, self._dtype, enabled=low):
            pixels = images.to(self._dtype) / 255
            size = (images.shape[2], images.shape[3])
            state = self._twin.initial_state(len(images), size, dtype=self._dtype)
            maps, _, messages = self._twin.step_from_current(self._twin.current(pixels), state)
        return TwinView(maps, tuple(messages[name] for name in LAYER_NAMES))

    def _plain_distance(
        self,
        raw: list[Tensor],
        taught: list[Tensor],
        spikes: list[Tensor],
        activations: list[Tensor],
    ) -> Tensor:
        answers = [_answers(own, twin) for own, twin in zip(raw, taught, strict=True)]
        some = slice(-(-len(raw[0]) // _SHARE))
        layers = [
            1 - correlation(own[some].float(), twin[some].float().repeat_interleave(self._times, 1))
            for own, twin in zip(spikes, activations, strict=True)
        ]
        return (
            self._weights.answer_weight * torch.stack(answers).sum()
            + self._weights.layer_weight * torch.stack(layers).mean()
        )


def _answers(raw: Tensor, taught: Tensor) -> Tensor:
    """Of one head: raw outputs [B, A, H, W, 5 + C], the twin's alike."""
    classes = slice(_OBJECTNESS.stop, None)
    chance = taught[..., _OBJECTNESS].sigmoid()
    box = functional.smooth_l1_loss(raw[..., _BOX], taught[..., _BOX], reduction="none")
    of_object = box.sum(-1, keepdim=True) + _divergence(raw[..., classes], taught[..., classes])
    total = _divergence(raw[..., _OBJECTNESS], taught[..., _OBJECTNESS]) + chance * of_object
    return total.sum() / chance.sum().clamp(min=1)


def _divergence(logits: Tensor, taught: Tensor) -> Tensor:
    """KL of Bernoulli chances from the taught ones, summed over the last dimension, which stays."""
    goal = taught.sigmoid()
    cross = functional.binary_cross_entropy_with_logits(logits, goal, reduction="none")
    own = functional.binary_cross_entropy_with_logits(taught, goal, reduction="none")
    return (cross - own).sum(-1, keepdim=True)
