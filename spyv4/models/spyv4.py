"""The whole network: backbone, neck, heads and read-out."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spyv4.config import ModelConfig, check_image_size, check_reads
from spyv4.errors import ConfigError, StateShapeError
from spyv4.layers.conv import fold_batch_norm
from spyv4.layers.csp import CSPSpikes
from spyv4.models.backbone import BackboneSpikes, BackboneState, SpikingBackbone
from spyv4.models.neck_head import NeckSpikes, NeckState, SpikingNeck
from spyv4.models.readout import LeakyReadoutState, initial_readout, leaky_readout
from spyv4.types import HeadMaps

PAPER_CHANNELS = 32
# Share of cells with an object at the start of training; without it the first steps only push
# the objectness of empty cells down.
INITIAL_OBJECTNESS = 0.01


class SPYv4State(NamedTuple):
    """Everything the network remembers from one read to the next; a value, never hidden.

    Attributes:
        backbone: states of layers 1 to 14.
        neck: states of layers 15 to 19.
        readout: state of the leaky read-out; empty for `readout="last"`.
    """

    backbone: BackboneState
    neck: NeckState
    readout: LeakyReadoutState | tuple[()]


class SpikesByLayer(NamedTuple):
    """Spikes of one read, by layer."""

    backbone: BackboneSpikes
    neck: NeckSpikes


def _flat_names() -> tuple[str, ...]:
    names: list[str] = []
    for name in BackboneSpikes._fields:
        if name.startswith("csp"):
            names += [f"{name}.{part}" for part in CSPSpikes._fields]
        else:
            names.append(name)
    return (*names, *NeckSpikes._fields)


LAYER_NAMES = _flat_names()


def flatten_spikes(spikes: SpikesByLayer) -> tuple[Tensor, ...]:
    """The spikes of the 19 layers, shallow to deep, in the order of `LAYER_NAMES`."""
    flat: list[Tensor] = []
    for part in spikes.backbone:
        flat += [part] if isinstance(part, Tensor) else list(part)
    return (*flat, *spikes.neck)


class SPYv4(nn.Module):
    """Spiking Tiny-YOLOv4 (reference section 1).

    Args:
        config: width, classes, anchors, neuron and read-out.

    Raises:
        ConfigError: if `width_multiple` leaves a layer without channels.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = round(PAPER_CHANNELS * config.width_multiple)
        if channels < 1:
            raise ConfigError(
                f"width_multiple {config.width_multiple} leaves no channels; use at least "
                f"{1 / PAPER_CHANNELS}"
            )
        self.config = config
        self.outputs = (
            len(config.anchors_p5) * config.outputs_per_anchor,
            len(config.anchors_p4) * config.outputs_per_anchor,
        )
        self.backbone = SpikingBackbone(channels, config.neuron)
        self.neck = SpikingNeck(channels, *self.outputs, config.neuron)
        self.folded = False
        self._initialise_heads()

    def _initialise_heads(self) -> None:
        """Small weights, and a bias that starts objectness at `INITIAL_OBJECTNESS`."""
        logit = math.log(INITIAL_OBJECTNESS / (1 - INITIAL_OBJECTNESS))
        for head in (self.neck.head_p5, self.neck.head_p4):
            nn.init.normal_(head.weight, std=0.01)
            bias = torch.zeros(head.out_channels).view(-1, self.config.outputs_per_anchor)
            bias[:, 4] = logit
            bias[:, 5:] = -2.0
            with torch.no_grad():
                head.bias.copy_(bias.flatten())  # type: ignore[union-attr]

    def initial_state(
        self,
        batch: int,
        image_size: tuple[int, int],
        *,
        generator: torch.Generator | None = None,
    ) -> SPYv4State:
        """The state before the first read.

        Args:
            batch: number of pictures.
            image_size: (height, width) in pixels, multiples of 32.
            generator: for potentials that are uniform in 0..1 instead of zero, as in the authors'
                code; on the device of the network.

        Raises:
            ConfigError: if a side is not a positive multiple of 32.
        """
        check_image_size(image_size)
        weight = self.neck.head_p5.weight
        readout: LeakyReadoutState | tuple[()] = ()
        if self.config.readout == "leaky":
            readout = initial_readout(
                batch, image_size, self.outputs, dtype=weight.dtype, device=weight.device
            )
        return SPYv4State(
            self.backbone.initial_state(batch, image_size, like=weight, generator=generator),
            self.neck.initial_state(batch, image_size, like=weight, generator=generator),
            readout,
        )

    def current(self, images: Tensor) -> Tensor:
        """Input current of the first layer; the same at every read of the same images.

        Args:
            images: RGB [B, 3, H, W] in 0..1.
        """
        return self.backbone.stem1.current(images)

    def step_from_current(
        self, current: Tensor, state: SPYv4State
    ) -> tuple[HeadMaps, SPYv4State, SpikesByLayer]:
        """One read, from the first layer's `current`: head maps, new state, spikes."""
        x, backbone, backbone_spikes = self.backbone(current, state.backbone)
        maps, neck, neck_spikes = self.neck(x, backbone_spikes.csp3.d, state.neck)
        readout: LeakyReadoutState | tuple[()] = ()
        if isinstance(state.readout, LeakyReadoutState) != (self.config.readout == "leaky"):
            raise StateShapeError(
                f"the state is not that of a network with read-out {self.config.readout!r}; start "
                "from initial_state() of the same network"
            )
        if isinstance(state.readout, LeakyReadoutState):
            maps, readout = leaky_readout(maps, state.readout, self.config.readout_rate)
        return (
            maps,
            SPYv4State(backbone, neck, readout),
            SpikesByLayer(backbone_spikes, neck_spikes),
        )

    def step(self, images: Tensor, state: SPYv4State) -> tuple[HeadMaps, SPYv4State]:
        """One read of `images`.

        Args:
            images: RGB [B, 3, H, W] in 0..1, sides multiples of 32.
            state: from `initial_state` of the same batch and size, or from the read before.

        Returns:
            Raw head maps and the new state.

        Raises:
            StateShapeError: if `state` is of another network, batch or size.
        """
        maps, state, _ = self.step_from_current(self.current(images), state)
        return maps, state

    def run(
        self, images: Tensor, reads: int, state: SPYv4State | None = None
    ) -> tuple[HeadMaps, SPYv4State]:
        """`reads` steps on the same images; the head maps of the last one and the state.

        Args:
            images: RGB [B, 3, H, W] in 0..1.
            reads: number of steps, 1..256.
            state: where to start; rest by default.

        Raises:
            ConfigError: if `reads` is out of range or a side is not a multiple of 32.
            StateShapeError: if `state` is of another network, batch or size.
        """
        check_reads(reads)
        if state is None:
            height, width = images.shape[-2:]
            state = self.initial_state(len(images), (height, width))
        current = self.current(images)
        maps, state, _ = self.step_from_current(current, state)
        for _ in range(reads - 1):
            maps, state, _ = self.step_from_current(current, state)
        return maps, state

    def forward(self, images: Tensor, state: SPYv4State) -> tuple[HeadMaps, SPYv4State]:
        """Same as `step`."""
        return self.step(images, state)

    def fold(self) -> "SPYv4":
        """Fold all batch norms into the convolutions, in place, for inference; returns self."""
        self.eval()
        fold_batch_norm(list(self.modules()))
        self.folded = True
        return self
