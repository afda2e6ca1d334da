"""What networks in the paper's notation consist of; `training.tasks.notation` reads them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Conv:
    """A spiking convolution; sizes in pixels, `padding` zeros on every side."""

    kernel: int
    channels: int
    stride: int
    padding: int

    def __str__(self) -> str:
        return f"ConvK{self.kernel}C{self.channels}S{self.stride}P{self.padding}"


@dataclass(frozen=True)
class Pool:
    """A max-pooling; sizes in pixels."""

    kernel: int
    stride: int

    def __str__(self) -> str:
        return f"MPK{self.kernel}S{self.stride}"


@dataclass(frozen=True)
class Dense:
    """`size` spiking neurons without connections among them."""

    size: int

    def __str__(self) -> str:
        return f"{self.size}D"


@dataclass(frozen=True)
class Recurrent:
    """`size` spiking neurons that hear one another's last spikes."""

    size: int

    def __str__(self) -> str:
        return f"{self.size}R"


@dataclass(frozen=True)
class Leaky:
    """`size` leaky integrators, which are read out."""

    size: int

    def __str__(self) -> str:
        return f"{self.size}I"


@dataclass(frozen=True)
class Values:
    """`size` numbers that are no neurons: inputs, or a dense read-out."""

    size: int

    def __str__(self) -> str:
        return str(self.size)


@dataclass(frozen=True)
class Branches:
    """Parts side by side, one for each channel of the input: all `Values`, or all `Dense`."""

    parts: tuple[Values | Dense, ...]

    def __str__(self) -> str:
        return f"[{','.join(map(str, self.parts))}]"


Layer = Conv | Pool | Dense | Recurrent | Branches
Readout = Leaky | Values
Part = Layer | Readout


@dataclass(frozen=True)
class Network:
    """A network in the paper's notation.

    Attributes:
        inputs: what a step brings, where it is said.
        layers: from the input on; at least one.
        readout: the outputs.
    """

    inputs: Values | Branches | None
    layers: tuple[Layer, ...]
    readout: Readout

    def __str__(self) -> str:
        first = () if self.inputs is None else (self.inputs,)
        return "-".join(map(str, (*first, *self.layers, self.readout)))
