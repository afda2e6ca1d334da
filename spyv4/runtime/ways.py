"""The ways of running a network: an engine and a precision, and what each is worth.

Classes of accuracy: `float32` is the network as it was trained. `bfloat16` rounds weights,
potentials and currents to 8 bits of mantissa. `int8` rounds weights to 8 bits and the input of the
update-rate convolution to 256 steps, while spikes stay exact. Engines of one precision agree up
to the order of their sums. The card of the shipped weights (weights/README.md) has the mAP of each.
"""

from typing import Literal, NamedTuple

from spyv4.choices import Exact

Engine = Literal["eager", "compiled", "onnx"]


class Way(NamedTuple):
    """One way of running a network.

    Attributes:
        engine: `eager` is PyTorch operator by operator, `compiled` the step compiled ahead of
            time, on a GPU recorded as a CUDA graph, `onnx` ONNX Runtime.
        precision: of weights, potentials and currents.
    """

    engine: Engine
    precision: Exact

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"
