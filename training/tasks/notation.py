"""Networks as the paper writes them (its Methods), for example `512R-10I`.

    network  = [ inputs "-" ] { layer "-" } read-out
    inputs   = number | "[" number { "," number } "]"
    layer    = conv | pool | dense | recurrent | "[" dense { "," dense } "]"
    conv     = "ConvK" number "C" number "S" number "P" number
    pool     = "MPK" number "S" number
    dense    = number "D"
    recurrent = number "R"
    read-out = number "I" | number

A number is written without leading zeros and without blanks, so that a text is its own normal form:
`str(parse_network(text)) == text`.

How it is read, where the paper leaves it open:

*   `512D` and `512R` are the paper's "fully connected spiking layer" and "recurrent spiking layer":
    512 neurons, driven by W x_t, and by W [x_t, s_{t-1}] with the layer's own last spikes.
*   `11I` is its "leaky integrator with the output feature = 11", with a learned leak r an output:
    o_t = o_{t-1} + r (W s_t - o_{t-1}).
*   `ConvK7C64S1P3` has kernel 7, 64 channels, stride 1 and a border of 3 zeros. The paper explains
    `ConvK7C64S1P1` as "padding = 3", and writes P3 in the networks themselves: P is the border in
    pixels. `MPK2S2` is a max-pooling of spikes, kernel 2 and stride 2.
*   `[1024,1024]` at the start names inputs, not neurons: so many values of each channel of a frame.
    The paper halves 128 x 128 frames twice, "averaging each 4 x 4 pixel block", to 1,024 values;
    so are frames here that have more pixels than the notation names. `[512D,512D]` is one layer for
    each of them, and what follows sees the spikes of both, one after the other.
*   A number without a letter is no spiking layer: at the start it is the number of values of a
    step, at the end a dense read-out of the potentials of the layer before it (of the output of an
    LSTM), as in the Add-task: "a dense output layer with only one neuron". That letterless use is
    ours; the paper describes the network of the Add-task in words alone.
"""

from collections.abc import Mapping
from typing import TypeGuard

from spyv4.errors import ConfigError
from training.tasks.parts import (
    Branches,
    Conv,
    Dense,
    Layer,
    Leaky,
    Network,
    Part,
    Pool,
    Recurrent,
    Values,
)

_SCONV = (
    "ConvK7C64S1P3-MPK2S2-ConvK7C128S1P3-MPK2S2-ConvK3C128S1P1-MPK2S2-ConvK3C256S1P1-MPK2S2-"
    "ConvK3C256S1P1-MPK2S2-ConvK3C512S1P1-MPK2S2-512D"
)
_PICTURES = "ConvK3C32S1P1-MPK2S2-ConvK3C128S1P1-MPK2S2-ConvK3C256S1P1-MPK2S2-512D-10I"

NETWORKS: Mapping[str, str] = {
    "add": "2-128R-1",
    "s-mnist": "512R-10I",
    "ps-mnist": "512R-10I",
    "r-mnist": "256D-256D-10I",
    "mnist": _PICTURES,
    "fashion-mnist": _PICTURES,
    "dvs-gesture": f"{_SCONV}-11I",
    "dvs-gesture-shallow": "[1024,1024]-[512D,512D]-512R-11I",
    "dvs-cifar10": f"{_SCONV}-10I",
}
"""The networks of the paper's Methods by task.

Written out there are `mnist`, `dvs-gesture` and `dvs-gesture-shallow` (of figure 2); the others it
describes in words. "Two hidden layers of 256 neurons, each followed by 10 output neurons" (R-MNIST)
is read as two layers of 256 and one of 10, as in the work that it is taken from. It gives one text
for both DVS tasks, with `11I`; CIFAR10 has ten classes.
"""


def find_network(name: str) -> Network:
    """The network of a name in `NETWORKS`, or of a text in the notation.

    Raises:
        ConfigError: if it is neither; points at the first character that does not fit.
    """
    return parse_network(NETWORKS.get(name, name))


def parse_network(text: str) -> Network:
    """Read a network in the notation of this module.

    Raises:
        ConfigError: if the text is not one; points at the first character that does not fit.
    """
    reader = _Reader(text)
    parts: list[tuple[int, Part]] = []
    while True:
        parts.append((reader.at, _part(reader)))
        if reader.done:
            return _put_together(reader, parts)
        reader.literal("-")


class _Reader:
    """A text and how far it is read."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    @property
    def done(self) -> bool:
        return self.at == len(self.text)

    def ahead(self, word: str) -> bool:
        """Whether `word` comes next."""
        return self.text.startswith(word, self.at)

    def take(self, word: str) -> bool:
        """Go past `word` if it comes next."""
        found = self.ahead(word)
        self.at += len(word) if found else 0
        return found

    def literal(self, word: str) -> None:
        """Go past `word`, which has to come; stops within it where it ends to fit."""
        for character in word:
            if not self.take(character):
                raise self.error(f"{word} expected")

    def number(self, least: int = 1) -> int:
        """Go past a number."""
        start = self.at
        while not self.done and self.text[self.at] in "0123456789":
            self.at += 1
        digits = self.text[start : self.at]
        if not digits:
            raise self.error("a number expected")
        if len(digits) > 6 or str(int(digits)) != digits or int(digits) < least:
            wanted = f"a number from {least} to 999999 without leading zeros expected"
            raise self.error(wanted, start)
        return int(digits)

    def error(self, message: str, at: int | None = None) -> ConfigError:
        """What is wrong, with a line that points at the place."""
        at = self.at if at is None else at
        return ConfigError(
            f"the network cannot be read: {message} at character {at + 1}\n"
            f"  {self.text}\n  {' ' * at}^\n"
            f"names of networks: {', '.join(NETWORKS)}"
        )


def _part(reader: _Reader) -> Part:
    """The next part, whatever stands before it."""
    if reader.ahead("C"):
        reader.literal("ConvK")
        numbers = [reader.number()]
        for letter, least in (("C", 1), ("S", 1), ("P", 0)):
            reader.literal(letter)
            numbers.append(reader.number(least))
        return Conv(*numbers)
    if reader.ahead("M"):
        reader.literal("MPK")
        kernel = reader.number()
        reader.literal("S")
        return Pool(kernel, reader.number())
    if reader.ahead("["):
        return _branches(reader)
    if reader.done or reader.text[reader.at] not in "0123456789":
        raise reader.error("a number, ConvK, MPK or [ expected")
    return _sized(reader)


def _sized(reader: _Reader) -> Dense | Recurrent | Leaky | Values:
    """A number, and what it is a number of."""
    size = reader.number()
    if reader.take("D"):
        return Dense(size)
    if reader.take("R"):
        return Recurrent(size)
    if reader.take("I"):
        return Leaky(size)
    return Values(size)


def _branches(reader: _Reader) -> Branches:
    """Parts between brackets, all of one kind."""
    reader.literal("[")
    found: list[Values | Dense] = []
    while True:
        start = reader.at
        part = _sized(reader)
        if not isinstance(part, Values | Dense) or type(part) is not type((found or [part])[0]):
            raise reader.error("within brackets only numbers, or only layers such as 512D", start)
        found.append(part)
        if reader.take("]"):
            return Branches(tuple(found))
        reader.literal(",")


def _put_together(reader: _Reader, parts: list[tuple[int, Part]]) -> Network:
    """The network of the parts, each with where it starts, if they may stand in this order."""
    inputs: Values | Branches | None = None
    first = parts[0][1]
    if _is_inputs(first) and len(parts) > 1:
        inputs, parts = first, parts[1:]
    *middle, (end, readout) = parts
    layers: list[Layer] = []
    for at, part in middle:
        if isinstance(part, Leaky | Values):
            problem = "inputs stand at the start and a read-out at the end, not here"
            raise reader.error(problem, at)
        problem = _misplaced(part, layers[-1] if layers else inputs)
        if problem:
            raise reader.error(problem, at)
        layers.append(part)
    if not isinstance(readout, Leaky | Values):
        raise reader.error("a read-out such as 10I has to follow after a -", len(reader.text))
    if not layers:
        raise reader.error("a layer such as 512R has to come before the read-out", end)
    if isinstance(readout, Values) and not isinstance(layers[-1], Dense | Recurrent):
        raise reader.error("a read-out without I needs a layer such as 512R before it", end)
    return Network(inputs, tuple(layers), readout)


def _is_inputs(part: Part | None) -> TypeGuard[Values | Branches]:
    """Whether a first part names inputs."""
    branches = isinstance(part, Branches) and isinstance(part.parts[0], Values)
    return branches or isinstance(part, Values)


def _misplaced(part: Layer, before: Part | None) -> str:
    """Why a layer may not stand after the part `before`; nothing where it may."""
    if _is_inputs(part):
        return "inputs stand at the start, not here"
    if isinstance(part, Conv | Pool) and not isinstance(before, Conv | Pool | None):
        return "a convolution or a pooling has to come before all other layers and inputs"
    many = len(before.parts) if _is_inputs(before) and isinstance(before, Branches) else 0
    if isinstance(part, Branches) and len(part.parts) != many:
        return f"{part} has to come after as many inputs in brackets"
    if many and not isinstance(part, Branches):
        return f"after {before} a layer for each of them has to come, in brackets"
    return ""
