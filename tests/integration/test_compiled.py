"""Steps that are compiled ahead of time, for real: in half a minute each."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map

from spyv4 import Detector, engine
from spyv4.checkpoint import save_model
from spyv4.engine import Network, known_step, open_network
from spyv4.errors import CheckpointError, RuntimeUnavailableError, StateShapeError
from spyv4.runtime import cache
from spyv4.runtime.choice import precisions
from spyv4.runtime.int8 import has_fast_int8
from spyv4.runtime.step_compiler import check_step, compile_step
from spyv4.runtime.step_package import LIBRARY, StepPackage
from spyv4.runtime.torch_runtime import TorchRuntime, can_compile
from tests.helpers.looking import ANY, assert_same, frame
from tests.helpers.tiny_model import pictures, same, tiny_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler"),
]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def network(_own_cache, tmp_path_factory) -> Network:
    weights = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(tiny_model(readout="leaky"), weights)
    return Network(weights, (64, 64), CPU)


@pytest.fixture(scope="module")
def detector(network) -> Detector:
    """Had its steps built in the background while it was at work."""
    detector = Detector.load(network.weights, precision="float32")
    assert detector.runtime.way == ("eager", "float32")
    expected = list(detector.reads(frame(), 3, **ANY))
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("spyv4.background").addHandler(handler)
    logging.getLogger("spyv4.background").setLevel(logging.INFO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 7)  # fewer may compute than there are
        detector.compile_in_background()
    assert detector.engine.build == "building"
    deadline = time.monotonic() + 900
    while detector.engine.build == "building" and time.monotonic() < deadline:
        for now, before in zip(detector.reads(frame(), 3, **ANY), expected, strict=True):
            assert_same(now, before)
        time.sleep(1)  # or this would take the time of the builder
    assert detector.engine.build == "done"
    assert detector.runtime.way == ("compiled", "float32")
    assert any("from now on reads are made by torch compiled" in text for text in messages)
    return detector


def test_all_ways_were_timed_and_are_remembered(detector, network) -> None:
    found = precisions(CPU, int8=False)
    expected = {f"{e} {p}" for e in ("eager", "compiled") for p in found}
    assert set(detector.engine.read_ms) == expected
    again = Detector.load(network.weights)
    assert again.engine.build == "done"
    assert again.engine.read_ms == detector.engine.read_ms
    assert again.runtime.way == engine.recalled(network).fastest()
    again.compile_in_background()  # for which there is nothing left to do
    assert again.engine.build == "done"


@pytest.mark.parametrize("batch", [1, 3])
def test_compiled_reads_are_those_of_the_network(detector, network, batch) -> None:
    compiled, eager = (
        open_network(network, precision="float32", compiled=each) for each in (True, False)
    )
    assert (compiled.way.engine, eager.way.engine) == ("compiled", "eager")
    images = pictures(batch)
    state = eager.initial_state(batch, (64, 64), seed=1)
    prepared = eager.prepare(images)
    for _ in range(3):
        expected = eager.step(prepared, state, activity=True)
        found = compiled.step(prepared, state, activity=True)
        assert compiled.step(prepared, state).activity is None
        for one, other in zip(
            tree_leaves(expected),
            tree_leaves(found),
            strict=True,
        ):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            assert ((one - other).abs() < 1e-4).float().mean() > 0.999
        state = expected.state


def test_a_state_is_a_value(detector, network) -> None:
    """What a step was given and what it gave stay as they are, whatever is read later."""
    runtime = open_network(network, precision="float32", compiled=True)
    prepared = runtime.prepare(pictures(1))
    first = runtime.step(prepared, runtime.initial_state(1, (64, 64))).state
    kept = tree_map(torch.clone, first)
    second = runtime.step(prepared, first).state
    runtime.step(prepared, second)
    assert same(first, kept)
    assert not same(first, second)


def test_a_state_of_another_order_in_memory_is_read_right(detector, network) -> None:
    runtime = open_network(network, precision="float32", compiled=True)
    prepared, state = runtime.prepare(pictures(2)), runtime.initial_state(2, (64, 64), seed=0)
    other = tree_map(lambda leaf: leaf.clone(memory_format=torch.contiguous_format), state)
    assert other.layers["stem1"].u.stride() != state.layers["stem1"].u.stride()
    assert same(runtime.step(prepared, state)[:2], runtime.step(prepared, other)[:2])


def test_a_state_that_does_not_fit_is_refused(detector, network) -> None:
    runtime = open_network(network, precision="float32", compiled=True)
    prepared = runtime.prepare(pictures(1))
    for state in (
        runtime.initial_state(2, (64, 64)),
        runtime.initial_state(1, (64, 96)),
        runtime.model.initial_state(1, (64, 64), dtype=torch.bfloat16),
        runtime.initial_state(1, (64, 64))._replace(readout=()),
    ):
        with pytest.raises(StateShapeError, match="start from initial_state"):
            runtime.step(prepared, state)


def test_other_threads_go_on_while_it_runs(detector, network) -> None:
    """A step that kept Python's lock would hold up the server for the time of a read."""
    runtime = open_network(network, precision="float32", compiled=True)
    prepared, state = runtime.prepare(pictures(64)), runtime.initial_state(64, (64, 64))
    ticks, stop = [], threading.Event()

    def tick() -> None:
        while not stop.wait(0.0005):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    spans = []
    for _ in range(5):
        started = time.perf_counter()
        runtime.step(prepared, state)
        spans.append((started, time.perf_counter()))
    stop.set()
    thread.join()
    inside = [sum(a < t < b for t in ticks) for a, b in spans]
    assert max(inside) >= 3, (inside, [1000 * (b - a) for a, b in spans])


def test_a_damaged_step_is_refused(detector, network, tmp_path) -> None:
    with pytest.raises(CheckpointError, match="holds no compiled step"):
        StepPackage(tmp_path)
    folder = cache.package_folder(network.key, "float32")
    for name in (LIBRARY, "about.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / LIBRARY).write_bytes(b"\x7fELF")
    with pytest.raises(CheckpointError, match="holds no compiled step"):
        StepPackage(tmp_path)


def test_a_step_of_another_network_does_not_pass_the_check(detector, network) -> None:
    step = known_step(network, "float32")
    assert step is not None
    own = network.open("float32")
    check_step(own, own, (64, 64), step)
    other = TorchRuntime(tiny_model(seed=1, readout="leaky"), CPU)
    with pytest.raises(RuntimeUnavailableError, match="is off by"):
        check_step(other, other, (64, 64), step)


@pytest.mark.skipif(not has_fast_int8(), reason="no 8-bit dot products here")
def test_8_bits_are_compiled_with_their_own_arithmetic(tmp_path) -> None:
    runtime = TorchRuntime(tiny_model(), CPU, precision="int8")
    compile_step(runtime, (64, 64), tmp_path / "step")
    step = StepPackage(tmp_path / "step")
    check_step(TorchRuntime(tiny_model(), CPU), runtime, (64, 64), step)
    assert "qconv" in (tmp_path / "step" / LIBRARY).read_bytes().decode("latin-1")


BEGIN = """
import sys, time
from spyv4 import Detector
detector = Detector.load(sys.argv[1])
detector.compile_in_background()
print(detector._builder._process.pid, flush=True)
time.sleep(600)
"""


def test_the_builder_ends_with_its_parent_however_that_ends(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    save_model(tiny_model(), tmp_path / "tiny.safetensors")
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN, str(tmp_path / "tiny.safetensors")],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        builder = int(parent.stdout.readline())
        time.sleep(5)  # to be at work
        os.kill(builder, 0)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _runs(builder):
        time.sleep(0.2)
    assert not _runs(builder)


def test_closing_ends_the_builder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    save_model(tiny_model(), tmp_path / "tiny.safetensors")
    detector = Detector.load(tmp_path / "tiny.safetensors")
    detector.close()  # which began nothing
    detector.compile_in_background()
    builder = detector._builder._process.pid
    detector.close()
    assert not _runs(builder)
    assert detector.engine.build == "failed"
    detector.close()


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
