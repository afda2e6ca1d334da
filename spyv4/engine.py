"""Opens a network in a file the fastest way that is known here, and finds out which that is.

What was measured and built is remembered (`spyv4.runtime.cache`), so that only the first start on a
machine measures, for a second or two, and only among the ways that are built at once. On the CPU
the compiled ways are built by `tune`, which takes minutes: `spyv4.background` runs it beside a
server, `spyv4-bench` while one waits. On a GPU they are recorded as CUDA graphs at every start.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from spyv4.choices import Exact, Precision
from spyv4.errors import CheckpointError, RuntimeUnavailableError
from spyv4.files import file_sha256
from spyv4.runtime import cache
from spyv4.runtime.base import Step
from spyv4.runtime.choice import BUDGET_S, Choice, choose, precisions
from spyv4.runtime.cuda_graph import has_graphs, record_step
from spyv4.runtime.step_compiler import check_step, compile_step
from spyv4.runtime.step_package import StepPackage
from spyv4.runtime.torch_runtime import TorchRuntime
from spyv4.runtime.ways import Engine, Way
from spyv4.weights import load_weights, measured_precisions

logger = logging.getLogger(__name__)
FIRST_BUDGET_S = 0.5
"""Of the first measurement on a machine, which somebody waits for."""


class Network(NamedTuple):
    """A network as it is to run here.

    Attributes:
        weights: a .safetensors file.
        image_size: (height, width) in pixels, multiples of 32.
        device: where it runs.
    """

    weights: Path
    image_size: tuple[int, int]
    device: torch.device

    @property
    def key(self) -> str:
        """Name of what is remembered of it on this machine, with so many threads."""
        return cache.entry_key(file_sha256(self.weights), self.image_size, self.device)

    @property
    def precisions(self) -> tuple[Exact, ...]:
        """Those to choose from: 8 bits only where the weights' card says what they cost."""
        return precisions(self.device, int8="int8" in measured_precisions(self.weights))

    def open(self, precision: Exact) -> TorchRuntime:
        """The network operator by operator."""
        return TorchRuntime(load_weights(self.weights), self.device, precision=precision)


def open_network(
    network: Network,
    *,
    precision: Precision = "auto",
    compiled: bool | None = None,
) -> TorchRuntime:
    """Open a network the fastest way that is known here.

    Args:
        network: what to open.
        precision: `auto` for the one that was measured to be fastest.
        compiled: True builds the compiled step where it is not there, and waits; False does
            without; None takes it where it is there, or is built at once, and was not measured to
            be slower.

    Raises:
        CheckpointError: if the weights cannot be read.
        RuntimeUnavailableError: if what is asked for cannot be had here.
    """
    way = _way(network, None if precision == "auto" else precision, compiled)
    runtime = network.open(way.precision)
    if way.engine == "compiled":
        step = built_step(network, runtime) if compiled else _step_at_hand(network, runtime)
        if step is not None:
            runtime.use(step)
    return runtime


def _step_at_hand(network: Network, runtime: TorchRuntime) -> Step | None:
    """The compiled step, if it is there or built at once."""
    if not has_graphs(network.device):
        return known_step(network, runtime.precision)
    try:
        return built_step(network, runtime)
    except RuntimeUnavailableError as error:
        logger.warning("reads are made operator by operator: %s", error)
        return None


def _way(network: Network, wanted: Exact | None, compiled: bool | None) -> Way:
    """The way to open; a compiled one that is not built yet stands for the eager one as well."""
    choice = recalled(network)
    if choice is None and wanted is None:
        choice = _measured(network, compiled)
    if choice is not None and choice.complete:
        engines: Mapping[bool | None, tuple[Engine, ...]] = {True: ("compiled",), False: ("eager",)}
        if (
            way := choice.fastest(engines.get(compiled, ("eager", "compiled")), wanted)
        ) is not None:
            return way
    if wanted is None and choice is not None and (eager := choice.fastest(("eager",))) is not None:
        wanted = eager.precision
    return Way("eager" if compiled is False else "compiled", wanted or "float32")


def forget(network: Network) -> None:
    """Remember nothing of a network on this machine, measured or built."""
    cache.forget(network.key)


def recalled(network: Network) -> Choice | None:
    """What was measured of a network on this machine; None for nothing."""
    facts = cache.recall(network.key)
    try:
        return None if facts is None else Choice.from_mapping(facts)
    except ValueError:
        return None


def _measured(network: Network, compiled: bool | None) -> Choice:
    """What is known after timing the ways that are built at once."""
    if has_graphs(network.device) and compiled is not False:
        try:
            return tune(network)
        except RuntimeUnavailableError as error:
            logger.warning("only eager reads are measured: %s", error)
    return measure_eager(network)


def measure_eager(network: Network) -> Choice:
    """Time the ways that need not be built, as shortly as can be, and remember it."""
    runtimes = {Way("eager", each): network.open(each) for each in network.precisions}
    return _timed(network, runtimes, complete=False, budget_s=FIRST_BUDGET_S)


def _timed(
    network: Network, runtimes: Mapping[Way, TorchRuntime], *, complete: bool, budget_s: float
) -> Choice:
    """Time ways, and remember it."""
    size, device = network.image_size, network.device
    choice = choose(runtimes, size, device, complete=complete, budget_s=budget_s)
    try:
        cache.remember(network.key, choice.to_mapping())
    except OSError as error:
        logger.warning("what was measured cannot be remembered: %s", error)
    return choice


def known_step(network: Network, precision: Exact) -> StepPackage | None:
    """The compiled step of a network; None where none was built, or what was built is damaged."""
    folder = cache.package_folder(network.key, precision)
    if not folder.is_dir():
        return None
    try:
        return StepPackage(folder)
    except CheckpointError as error:
        logger.warning("%s; it is built anew when there is time", error)
        return None


def built_step(network: Network, runtime: TorchRuntime) -> Step:
    """The compiled step of a network in `runtime`'s precision, built where it is not there.

    That takes about a minute on the CPU, and about a second on a GPU.

    Args:
        network: what `runtime` runs.
        runtime: eager.

    Raises:
        RuntimeUnavailableError: if there is no C++ compiler, if it fails or the GPU does, or if the
            compiled step does not agree with the eager one.
    """
    if has_graphs(network.device):
        return record_step(runtime, network.image_size)
    if (known := known_step(network, runtime.precision)) is not None:
        return known
    folder = cache.package_folder(network.key, runtime.precision)
    compile_step(runtime, network.image_size, folder)
    step = StepPackage(folder)
    check_step(network.open("float32"), runtime, network.image_size, step)
    cache.prune_packages()
    return step


def tune(
    network: Network,
    *,
    first: Exact | None = None,
    report: Callable[[Way | Choice], None] = lambda _: None,
) -> Choice:
    """Build every compiled way of a network that is not there, time all ways, and remember it.

    Args:
        network: what is to run.
        first: the precision to begin with.
        report: is told of every compiled way that is there, and of the choice at the end.

    Raises:
        RuntimeUnavailableError: if a step cannot be built.
    """
    runtimes: dict[Way, TorchRuntime] = {}
    for precision in sorted(network.precisions, key=lambda each: each != first):
        runtimes[Way("eager", precision)] = network.open(precision)
        compiled = network.open(precision)
        compiled.use(built_step(network, compiled))
        runtimes[compiled.way] = compiled
        report(compiled.way)
    choice = _timed(network, runtimes, complete=True, budget_s=BUDGET_S)
    report(choice)
    return choice
