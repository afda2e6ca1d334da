"""A reader of NIR: what the graph of a file gives, step by step, by the forward Euler rule."""

from graphlib import TopologicalSorter

import nir
import torch
from torch import Tensor
from torch.nn import functional


class NirReader:
    """Runs a graph without cycles whose edges are summed where they meet.

    Attributes:
        sent: what every node sent at the last step, [B, C, H, W].
    """

    def __init__(self, graph: nir.NIRGraph, dt_s: float) -> None:
        self.sent: dict[str, Tensor] = {}
        self._nodes, self._dt_s = graph.nodes, dt_s
        self._sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for source, name in graph.edges:
            self._sources[name].append(source)
        self._order = list(TopologicalSorter(self._sources).static_order())
        self._potentials: dict[str, Tensor] = {}

    def step(self, images: Tensor) -> Tensor:
        """What the only output receives."""
        for name in self._order:
            inputs = [self.sent[source] for source in self._sources[name]]
            received = torch.stack(inputs).sum(0) if inputs else images
            self.sent[name] = self._send(name, self._nodes[name], received)
        (output,) = (n for n, node in self._nodes.items() if isinstance(node, nir.Output))
        return self.sent[output]

    def _send(self, name: str, node: nir.NIRNode, x: Tensor) -> Tensor:
        assert x.shape[1:] == torch.Size(node.input_type["input"]), name
        if isinstance(node, nir.Conv2d):
            assert (*node.dilation, node.groups) == (1, 1, 1)
            weight, bias = torch.tensor(node.weight), torch.tensor(node.bias)
            return functional.conv2d(x, weight, bias, tuple(node.stride), tuple(node.padding))
        if isinstance(node, nir.SumPool2d):
            height, width = node.kernel_size
            return functional.avg_pool2d(x, (height, width), tuple(node.stride)) * height * width
        if isinstance(node, nir.LIF):
            assert not node.v_reset.any()
            v = self._potentials.get(name, torch.zeros_like(x))
            drive = torch.tensor(node.v_leak) - v + torch.tensor(node.r) * x
            v = v + self._dt_s / torch.tensor(node.tau) * drive
            spikes = (v > torch.tensor(node.v_threshold)).float()
            self._potentials[name] = (1 - spikes) * v
            return spikes
        assert isinstance(node, nir.Input | nir.Output)
        return x
