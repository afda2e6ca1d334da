"""One read of a batch in training: the forward pass that the loss sees."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from spyv4.network.readout import Maps
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.validation import require
from training.config import TrainingConfig


def dtype_of(config: TrainingConfig) -> torch.dtype:
    """What messages and potentials are computed in.

    Raises:
        ConfigError: if that is not chosen yet.
    """
    require(config.precision != "auto", "precision must be chosen before training, not auto")
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


class Seen(NamedTuple):
    """What one read in training gives.

    Attributes:
        maps: raw head maps.
        spikes: of the layers that were asked for, [B, C, H, W].
        firing_rate: mean of the layers, 0..1, a scalar without gradient.
    """

    maps: Maps
    spikes: dict[str, Tensor]
    firing_rate: Tensor


class Read:
    """Looks at a batch of uint8 images [B, 3, H, W] once: `seen, state = read(images, state)`.

    Args:
        model: the network, on its device.
        dtype: of the network's messages and potentials; the read-out has float32 always.
        compile_step: compile the forward and backward pass, at the first read.
        through_state: whether gradients go back through the state, to the reads before; if not,
            the state after a read is a constant, and compiled code need not provide for more.
        shown: layers whose spikes are wanted, which compiled code has to keep apart.
    """

    def __init__(
        self,
        model: SPYv4,
        dtype: torch.dtype,
        *,
        compile_step: bool,
        through_state: bool = True,
        shown: Sequence[str] = (),
    ) -> None:
        self._model = model
        self._through_state = through_state
        self._shown = tuple(shown)
        self.device = next(model.parameters()).device
        self.dtype = dtype
        self._forward: Callable[..., tuple[Seen, SPYv4State]] = (
            torch.compile(self._plain) if compile_step else self._plain
        )
        self._at_rest: tuple[torch.Size, SPYv4State] | None = None

    def __call__(self, images: Tensor, state: SPYv4State) -> tuple[Seen, SPYv4State]:
        """What is seen, and the state after it."""
        return self._forward(images, state)

    def at_rest(self, shape: torch.Size) -> SPYv4State:
        """The state before the first read of images of `shape`; made once, since it is a value."""
        if self._at_rest is None or self._at_rest[0] != shape:
            size = (shape[2], shape[3])
            state = self._model.initial_state(shape[0], size, dtype=self.dtype)
            self._at_rest = shape, state
        return self._at_rest[1]

    def _plain(self, images: Tensor, state: SPYv4State) -> tuple[Seen, SPYv4State]:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype == torch.bfloat16):
            pixels = images.to(self.dtype) / 255
            maps, state, spikes = self._model.step_from_current(self._model.current(pixels), state)
        if not self._through_state:
            state = tree_map(torch.Tensor.detach, state)
        with torch.no_grad():
            rate = torch.stack([(s > 0).float().mean() for s in spikes.values()]).mean()
        return Seen(maps, {name: spikes[name] for name in self._shown}, rate), state
