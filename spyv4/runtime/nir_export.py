"""Networks of LIF neurons as NIR, the exchange format of neuromorphic tools; see docs/nir.md.

One read is one step of `DT_S` by the forward Euler rule, in which NIR's LIF neuron is ours:

    tau dv/dt = -v + I   ->   v' = v + (dt / tau) (I - v),   with tau = dt / kappa

NIR has neither concatenation, halving, max-pooling nor upsampling. Here they are

    concatenation   a convolution for every part; what they give is summed where edges meet
    halving         weights of zero for the first half
    max-pooling     of spikes: a sum of 2x2 drives neurons without memory (kappa = 1, threshold 1/2)
    upsampling      none: the four neurons that share a current and start at rest stay equal, and
                    are one. What looks at them is four layers, one for each of the places
                    ("phases") that a coarse place has
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import nir
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spyv4.config import ModelConfig, check_image_size
from spyv4.errors import ArgumentError
from spyv4.files import write_atomically
from spyv4.network.readout import Maps
from spyv4.network.spyv4 import SPYv4
from spyv4.network.table import IMAGE, ROWS, STRIDES, Row
from spyv4.neurons.lif import LIF
from spyv4.validation import to_mapping

NIR_FORMAT = "spyv4-nir-1"
DT_S = 1e-3
Phase = tuple[int, int]
"""Row and column of a place within its coarse place, each 0 or 1."""
PHASES: tuple[Phase, ...] = ((0, 0), (0, 1), (1, 0), (1, 1))
OUT_STRIDE = 32
"""Of the only output, in pixels; readers of NIR seldom take several outputs."""
UPSAMPLED = frozenset(row.name for row in ROWS if row.kind == "up")
PHASED = frozenset(row.name for row in ROWS if UPSAMPLED & set(row.inputs))
_POOL_THRESHOLD = 0.5


def export_nir(model: SPYv4, path: Path, image_size: tuple[int, int]) -> None:
    """Write a network of LIF neurons, batch norms folded in.

    Args:
        model: is folded in place.
        path: the .nir file, replaced if it exists.
        image_size: (height, width) in pixels, multiples of 32, fixed in the file.

    Raises:
        ArgumentError: if NIR cannot express the network.
        ConfigError: if a side of `image_size` is not a positive multiple of 32.
    """
    graph = nir_graph(model, image_size)
    write_atomically(path, lambda temporary: nir.write(temporary, graph))


def nir_graph(model: SPYv4, image_size: tuple[int, int]) -> nir.NIRGraph:
    """The network as a graph, whose neurons start at rest; see `export_nir`.

    Its input is `image`, RGB [3, H, W] in 0..1, the same at every step; its output `heads`, in the
    layout that `head_maps` takes. A leaky read-out is left to whoever reads them.
    """
    check_image_size(image_size)
    _require_expressible(model.config)
    model.fold().float()
    drawing = _Drawing(image_size)
    for row in ROWS:
        _add_layer(drawing, model, row)
    _add_heads(drawing, model)
    metadata = {
        "format": NIR_FORMAT,
        "config": json.dumps(to_mapping(model.config)),
        "dt_s": DT_S,
    }
    return nir.NIRGraph(drawing.nodes, drawing.edges, metadata)


def head_maps(output: Tensor, config: ModelConfig) -> Maps:
    """The head maps in one output of the graph.

    Args:
        output: [B, channels, H / 32, W / 32]: for every head, and of `p4_out` for every phase, the
            channels of its map.
        config: of the network.

    Returns:
        Raw head maps h_t as `SPYv4.step` has them, before a leaky read-out.
    """
    maps, first, places = [], 0, output.shape[-2:]
    for head in config.heads:
        channels = len(head.anchors) * config.outputs_per_anchor
        if head.layer in PHASED:
            phases = output[:, first : first + 4 * channels].reshape(-1, 4, channels, *places)
            maps.append(functional.pixel_shuffle(phases.transpose(1, 2).flatten(1, 2), 2))
            first += 4 * channels
        else:
            maps.append(output[:, first : first + channels])
            first += channels
    return tuple(maps)


def _require_expressible(config: ModelConfig) -> None:
    if config.neuron.kind != "lif":
        raise ArgumentError(
            f"NIR has no node for the {config.neuron.kind} neurons of {config.name} (docs/nir.md "
            "says which is missing), only for those of networks trained with --set "
            "'model.neuron.kind=\"lif\"'; export to .onnx otherwise"
        )
    for head in config.heads:
        if STRIDES.get(head.layer) != OUT_STRIDE and head.layer not in PHASED:
            raise ArgumentError(
                f"for NIR heads must read from {' or '.join(sorted(PHASED))}, or a layer of stride "
                f"{OUT_STRIDE}, not {head.layer}"
            )


@dataclass
class _Drawing:
    """The nodes and edges so far, for pictures of `image_size`."""

    image_size: tuple[int, int]
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes[IMAGE] = nir.Input({"input": np.array((3, *self.image_size))})

    def places(self, stride: int) -> tuple[int, int]:
        """(height, width) of a layer of some stride in pixels."""
        return self.image_size[0] // stride, self.image_size[1] // stride

    def add(self, name: str, node: Any, sources: list[str]) -> str:
        """A node that receives the sum of what the nodes `sources` send."""
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def neurons(
        self, name: str, kappa: Tensor, theta: float, stride: int, sources: list[str]
    ) -> str:
        """LIF neurons of update rates `kappa`, [C, 1, 1], without leak current, reset to zero."""
        shape = (len(kappa), *self.places(stride))
        tau = np.broadcast_to(DT_S / kappa.numpy(), shape).astype(np.float32)
        one, zero = np.ones(shape, np.float32), np.zeros(shape, np.float32)
        node = nir.LIF(tau=tau, r=one, v_leak=zero, v_threshold=theta * one, v_reset=zero)
        return self.add(name, node, sources)

    def pool(self, source: str, channels: int) -> str:
        """Where any of 2x2 neurons of a layer spiked; once for all who ask."""
        name = f"{source}_pooled"
        if name not in self.nodes:
            two, none = np.array((2, 2)), np.array((0, 0))
            total = self.add(f"{source}_sum", nir.SumPool2d(two, two, none), [source])
            # Whatever rule integrates it, a sum of 1 or more reaches 0.63 at least and is reset.
            self.neurons(
                name, torch.ones(channels, 1, 1), _POOL_THRESHOLD, 2 * STRIDES[source], [total]
            )
        return name

    def conv(self, name: str, weight: Tensor, bias: Tensor, stride: int, *sources: str) -> str:
        """A convolution of what `sources` send; an even kernel begins as an odd one would."""
        padding = (weight.shape[-1] - 1) // 2
        node = nir.Conv2d(
            input_shape=self.places(self.stride_of(sources[0])),
            weight=weight.numpy().copy(),
            stride=stride,
            padding=padding,
            dilation=1,
            groups=1,
            bias=bias.numpy().copy(),
        )
        return self.add(name, node, list(sources))

    def stride_of(self, name: str) -> int:
        """Pixels of the picture from one place of a node to the next."""
        node = self.nodes[name]
        return int(self.image_size[0] // node.output_type["output"][1])


def _add_layer(drawing: _Drawing, model: SPYv4, row: Row) -> None:
    """The convolutions and neurons of a layer."""
    layer = model.spiking[row.name]
    weight, bias = _parameters(layer.synapse.conv)
    kappa = cast("LIF", layer.neuron).rate_logit.detach().sigmoid()
    theta = model.config.neuron.threshold
    if row.kind == "half":
        weight = torch.cat((torch.zeros_like(weight), weight), dim=1)
    sizes = [model.channels[name] for name in row.inputs]
    parts = dict(zip(row.inputs, torch.split(weight, sizes, dim=1), strict=True))
    biases = [bias, *(torch.zeros_like(bias) for _ in sizes[1:])]
    if row.name in PHASED:
        for phase in PHASES:
            currents = []
            for (source, part), own in zip(parts.items(), biases, strict=True):
                repeated = source in UPSAMPLED
                kernel = _phased_kernel(part, phase, 2 if repeated else 1)
                name = f"{_of_phase(row.name, phase)}_from_{source}"
                currents.append(drawing.conv(name, kernel, own, 1 if repeated else 2, source))
            name = _of_phase(row.name, phase)
            drawing.neurons(name, kappa, theta, 2 * STRIDES[row.name], currents)
        return
    currents = []
    for (source, part), own in zip(parts.items(), biases, strict=True):
        received = drawing.pool(source, part.shape[1]) if row.kind == "pool" else source
        name = f"{row.name}_from_{source}"
        currents.append(drawing.conv(name, part, own, row.stride, received))
    stride = STRIDES[row.name] * (2 if row.name in UPSAMPLED else 1)
    drawing.neurons(row.name, kappa, theta, stride, currents)


def _add_heads(drawing: _Drawing, model: SPYv4) -> None:
    """The output convolutions, each into channels of its own of the only output."""
    readers = [
        (source, head)
        for head, level in zip(model.outputs, model.config.heads, strict=True)
        for source in _nodes_of(level.layer)
    ]
    channels = sum(head.out_channels for _, head in readers)
    parts, first = [], 0
    for source, head in readers:
        weight, bias = _parameters(head)
        wide = weight.new_zeros(channels, *weight.shape[1:])
        wide_bias = bias.new_zeros(channels)
        own = slice(first, first + head.out_channels)
        wide[own], wide_bias[own] = weight, bias
        parts.append(drawing.conv(f"head_from_{source}_{first}", wide, wide_bias, 1, source))
        first += head.out_channels
    # Readers sum where edges meet, but not all of them at an output.
    one, none = torch.eye(channels)[..., None, None], torch.zeros(channels)
    total = drawing.conv("heads_sum", one, none, 1, *parts)
    shape = np.array((channels, *drawing.places(OUT_STRIDE)))
    drawing.add("heads", nir.Output({"output": shape}), [total])


def _parameters(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    return conv.weight.detach().cpu(), cast("Tensor", conv.bias).detach().cpu()


def _nodes_of(layer: str) -> list[str]:
    """The nodes of neurons that are a layer."""
    return [_of_phase(layer, phase) for phase in PHASES] if layer in PHASED else [layer]


def _of_phase(layer: str, phase: Phase) -> str:
    return f"{layer}_{phase[0]}{phase[1]}"


def _phased_kernel(weight: Tensor, phase: Phase, repeated: int) -> Tensor:
    """The kernel by which the neurons of a phase see a layer.

    A tap t = -r..r of the kernel sees place 2 y + a + t of the fine grid, for phase a of coarse
    place y: the kernel that begins r places before 2 y has it at a + t + r. In a layer whose places
    are repeated (`repeated` 2) it sees coarse place y + floor((a + t) / 2).
    """
    reach = weight.shape[-1] // 2
    if repeated == 2:
        coarse = (reach + 1) // 2
        size, begin = 2 * coarse + 1, coarse
    else:
        size, begin = 2 * reach + 2, reach
    kernel = weight.new_zeros(*weight.shape[:2], size, size)
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            row = (phase[0] + down) // repeated + begin
            column = (phase[1] + across) // repeated + begin
            kernel[..., row, column] += weight[..., down + reach, across + reach]
    return kernel
