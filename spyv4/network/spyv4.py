"""The whole network, built and run as its table says."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from spyv4.config import InitConfig, ModelConfig, check_image_size, check_reads
from spyv4.errors import ConfigError, StateShapeError
from spyv4.network.blocks import SpikingConv2d
from spyv4.network.pooling import max_pool_2x2
from spyv4.network.readout import Maps, ReadoutState, initial_readout, leaky_readout
from spyv4.network.table import (
    IMAGE,
    LAYER_NAMES,
    ROWS,
    STRIDES,
    Row,
    in_channels,
    layer_channels,
)
from spyv4.norm import NormedConv2d

Spikes = dict[str, Tensor]
"""Spikes of one read in {0, 1}, [B, C, H, W], by layer, shallow to deep."""


class SPYv4State(NamedTuple):
    """Everything the network remembers from one read to the next; a value, never hidden.

    Attributes:
        layers: states of the neurons by layer, in the order of the table.
        readout: state of the leaky read-out; empty for `readout="last"`.
    """

    layers: dict[str, Any]
    readout: ReadoutState | tuple[()]


class SPYv4(nn.Module):
    """Spiking Tiny-YOLOv4 (reference section 1).

    Args:
        config: width, classes, heads, neuron and read-out.

    Raises:
        ConfigError: if `width_multiple` leaves a layer without channels, or a head reads from a
            layer that there is not.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.channels = layer_channels(config.width_multiple)
        self.layers = nn.ModuleDict({row.name: self._layer(row) for row in ROWS})
        self.heads = nn.ModuleList()
        for head in config.heads:
            if head.layer not in LAYER_NAMES:
                raise ConfigError(
                    f"there is no layer {head.layer!r} to read a head from; choose one of: "
                    f"{', '.join(LAYER_NAMES)}"
                )
            outputs = len(head.anchors) * config.outputs_per_anchor
            self.heads.append(nn.Conv2d(self.channels[head.layer], outputs, 1))
        self.strides = tuple(STRIDES[head.layer] for head in config.heads)
        self.folded = False
        if not self.outputs[0].weight.is_meta:  # for shapes alone: torch would load its compiler
            self._initialise(config.init)

    @property
    def spiking(self) -> Mapping[str, SpikingConv2d]:
        """The spiking layers by name, shallow to deep."""
        return cast("Mapping[str, SpikingConv2d]", self.layers)

    @property
    def outputs(self) -> Sequence[nn.Conv2d]:
        """The output convolutions, one a head."""
        return cast("Sequence[nn.Conv2d]", self.heads)

    def _layer(self, row: Row) -> SpikingConv2d:
        return SpikingConv2d(
            in_channels(row, self.channels),
            self.channels[row.name],
            row.kernel,
            self.config.neuron,
            stride=row.stride,
            upsample=2 if row.kind == "up" else 1,
            dropout=0.0 if row.inputs == (IMAGE,) else self.config.dropout,
        )

    @torch.no_grad()
    def _initialise(self, init: InitConfig) -> None:
        """Where the configuration wants another start than torch's."""
        for module in self.layers.modules():
            if isinstance(module, NormedConv2d):
                if init.conv_std is not None:
                    nn.init.normal_(module.conv.weight, std=init.conv_std)
                if init.norm_std > 0:
                    nn.init.normal_(module.norm.weight, 1.0, init.norm_std)  # type: ignore[arg-type]
        for head in self.outputs:
            nn.init.normal_(head.weight, std=init.head_std)
            bias = cast("Tensor", head.bias).zero_().view(-1, self.config.outputs_per_anchor)
            bias[:, 4] = math.log(init.objectness / (1 - init.objectness))
            bias[:, 5:] = init.class_logit

    def initial_state(
        self,
        batch: int,
        image_size: tuple[int, int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> SPYv4State:
        """The state before the first read.

        Args:
            batch: number of pictures.
            image_size: (height, width) in pixels, multiples of 32.
            generator: for potentials that are uniform in 0..1 instead of zero, as in the authors'
                code; on the device of the network.
            dtype: of the potentials; that of the parameters by default.

        Raises:
            ConfigError: if a side is not a positive multiple of 32.
        """
        check_image_size(image_size)
        weight = self.outputs[0].weight
        like = weight.new_empty(0, dtype=dtype or weight.dtype)

        def shape(channels: int, stride: int) -> tuple[int, ...]:
            return batch, channels, image_size[0] // stride, image_size[1] // stride

        layers = {
            name: layer.neuron.initial_state(
                shape(self.channels[name], STRIDES[name]), like=like, generator=generator
            )
            for name, layer in self.spiking.items()
        }
        readout: ReadoutState | tuple[()] = ()
        if self.config.readout == "leaky":
            outputs = [head.out_channels for head in self.outputs]
            shapes = [shape(*pair) for pair in zip(outputs, self.strides, strict=True)]
            readout = initial_readout(shapes, weight.device)
        return SPYv4State(layers, readout)

    def current(self, images: Tensor) -> Tensor:
        """Input current of the first layer; the same at every read of the same images.

        Args:
            images: RGB [B, 3, H, W] in 0..1.
        """
        return self.spiking[LAYER_NAMES[0]].current(images)

    def step_from_current(
        self, current: Tensor, state: SPYv4State
    ) -> tuple[Maps, SPYv4State, Spikes]:
        """One read, from the first layer's `current`: head maps, new state, spikes."""
        spikes: Spikes = {}
        after: dict[str, Any] = {}
        for row in ROWS:
            layer = self.spiking[row.name]
            if row.inputs != (IMAGE,):
                current = layer.current(message(row, spikes))
            spikes[row.name], after[row.name] = layer.neuron(current, state.layers[row.name])
        maps: Maps = tuple(
            head(spikes[level.layer])
            for head, level in zip(self.outputs, self.config.heads, strict=True)
        )
        readout: ReadoutState | tuple[()] = ()
        if isinstance(state.readout, ReadoutState) != (self.config.readout == "leaky"):
            raise StateShapeError(
                f"the state is not that of a network with read-out {self.config.readout!r}; start "
                "from initial_state() of the same network"
            )
        if isinstance(state.readout, ReadoutState):
            maps, readout = leaky_readout(maps, state.readout, self.config.readout_rate)
        return maps, SPYv4State(after, readout), spikes

    def step(self, images: Tensor, state: SPYv4State) -> tuple[Maps, SPYv4State]:
        """One read of `images`.

        Args:
            images: RGB [B, 3, H, W] in 0..1, sides multiples of 32.
            state: from `initial_state` of the same batch and size, or from the read before.

        Returns:
            Raw head maps, one a level, and the new state.

        Raises:
            StateShapeError: if `state` is of another network, batch or size.
        """
        maps, state, _ = self.step_from_current(self.current(images), state)
        return maps, state

    def run(
        self, images: Tensor, reads: int, state: SPYv4State | None = None
    ) -> tuple[Maps, SPYv4State]:
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
        for _ in range(reads):
            maps, state, _ = self.step_from_current(current, state)
        return maps, state

    def forward(self, images: Tensor, state: SPYv4State) -> tuple[Maps, SPYv4State]:
        """Same as `step`."""
        return self.step(images, state)

    def fold(self) -> "SPYv4":
        """Fold all batch norms into the convolutions, in place, for inference; returns self."""
        self.eval()
        for module in list(self.modules()):
            if isinstance(module, NormedConv2d):
                module.fold()
        self.folded = True
        return self


def message(row: Row, spikes: Spikes) -> Tensor:
    """What a layer receives."""
    parts = [spikes[name] for name in row.inputs]
    message = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    if row.kind == "half":
        return message.chunk(2, dim=1)[1]
    if row.kind == "pool":
        return max_pool_2x2(message)
    return message
