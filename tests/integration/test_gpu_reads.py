"""Reads on a CUDA GPU: fused neurons and graphs; run with `pytest -m gpu`."""

import itertools
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from spyv4 import Detector
from spyv4.checkpoint import save_model
from spyv4.choices import Exact
from spyv4.commands.bench import bench_command
from spyv4.config import NeuronConfig
from spyv4.errors import RuntimeUnavailableError
from spyv4.network.spyv4 import SPYv4State
from spyv4.neurons.ltc import LTCState, ltc_step
from spyv4.runtime import fused
from spyv4.runtime.cuda_graph import CudaRecorder, GraphStep, record_step
from spyv4.runtime.torch_runtime import TorchRuntime
from tests.helpers.looking import ANY, assert_same, frame
from tests.helpers.tiny_model import pictures, same, tiny_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU"),
]
GPU = torch.device("cuda")
SIZE = (64, 64)


def graphed(precision: Exact = "float32", **changes: Any) -> tuple[TorchRuntime, TorchRuntime]:
    """A runtime that reads by graphs, and the same eager."""
    runtime = TorchRuntime(tiny_model(**changes), GPU, precision=precision)
    eager = runtime.eager()
    runtime.use(record_step(eager, SIZE))
    assert runtime.way.engine == "compiled"
    return runtime, eager


def known(result: Any) -> Any:
    return [each for each in result if each is not None]


@pytest.mark.parametrize("changes", [{}, {"readout": "leaky"}], ids=str)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_reads_by_a_graph_are_eager_ones_to_the_last_bit(precision, changes) -> None:
    runtime, eager = graphed(precision, **changes)
    for batch in (1, 3, 8):
        prepared = runtime.prepare(pictures(batch))
        state = expected_state = runtime.initial_state(batch, SIZE, seed=1)
        for number in range(8):
            activity = number % 2 == 0
            found = runtime.step(prepared, state, activity=activity)
            expected = eager.step(prepared, expected_state, activity=activity)
            assert same(known(found), known(expected))
            state, expected_state = found.state, expected.state
        assert found.maps[0].isfinite().all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_streams_interleave_and_states_are_kept(precision) -> None:
    runtime, eager = graphed(precision, readout="leaky")
    streams = [runtime.prepare(pictures(1, seed=seed)) for seed in range(3)]
    states = [runtime.initial_state(1, SIZE, seed=seed) for seed in range(3)]
    expected = list(states)
    kept: list[tuple[SPYv4State, SPYv4State]] = []
    for _ in range(8):
        for index, prepared in enumerate(streams):
            found = runtime.step(prepared, states[index])
            wanted = eager.step(prepared, expected[index])
            assert same(known(found), known(wanted))
            states[index], expected[index] = found.state, wanted.state
            kept.append((found.state, tree_map(torch.clone, found.state)))
    assert all(same(*pair) for pair in kept)
    again = runtime.step(streams[0], kept[0][0])  # from a state of long ago
    assert same(again.state, kept[3][0])
    assert not same(again.state, kept[0][0])


def test_parts_of_a_joint_read_go_on_alone() -> None:
    runtime, eager = graphed()
    prepared, state = runtime.prepare(pictures(3)), runtime.initial_state(3, SIZE, seed=0)
    part = tree_map(lambda leaf: leaf[1:2], runtime.step(prepared, state).state)
    found, wanted = (each.step(prepared[1:2], part) for each in (runtime, eager))
    assert same(known(found), known(wanted))


def test_graphs_that_went_are_recorded_again() -> None:
    runtime, eager = graphed()
    runtime.use(GraphStep(runtime.model, CudaRecorder(GPU), kept=2))
    for batch in (1, 2, 3, 1, 2, 3, 3, 2, 1):
        prepared, state = runtime.prepare(pictures(batch)), runtime.initial_state(batch, SIZE)
        found, wanted = (each.step(prepared, state) for each in (runtime, eager))
        assert same(known(found), known(wanted))


def test_threads_and_their_cuda_streams_take_turns() -> None:
    runtime, eager = graphed()
    prepared = [runtime.prepare(pictures(1, seed=seed)) for seed in range(3)]
    state = runtime.initial_state(1, SIZE)
    wanted = [eager.step(each, state) for each in prepared]
    torch.cuda.synchronize()
    wrong: list[object] = []

    def read(index: int) -> None:
        try:
            with torch.cuda.stream(torch.cuda.Stream()):
                for _ in range(50):
                    found = runtime.step(prepared[index], state)
                    assert same(known(found), known(wanted[index]))
        except Exception as error:  # noqa: BLE001 - of any kind
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_read_does_not_wait_for_the_gpu(precision) -> None:
    runtime, eager = graphed(precision, readout="leaky")
    prepared, state = runtime.prepare(pictures(2)), runtime.initial_state(2, SIZE)
    ways = list(itertools.product((runtime, eager), (False, True)))
    for reader, activity in ways:  # what is made once may wait
        reader.step(prepared, state, activity=activity)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for reader, activity in ways:
            for _ in range(3):
                state = reader.step(prepared, state, activity=activity).state
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_memory_does_not_grow_over_a_thousand_reads() -> None:
    runtime, _ = graphed()
    prepared, state = runtime.prepare(pictures(1)), runtime.initial_state(1, SIZE)
    used = []
    for reads in (20, 1000):
        for number in range(reads):
            state = runtime.step(prepared, state, activity=number % 2 == 0).state
        torch.cuda.synchronize()
        used.append((torch.cuda.memory_allocated(), torch.cuda.memory_reserved()))
    assert used[0] == used[1]


def test_what_is_recorded_is_replayed_on_what_is_there_then() -> None:
    one = torch.ones(4, device=GPU)
    recorded = CudaRecorder(GPU).record(lambda: [one * 3])
    one.fill_(2)
    recorded.replay()
    assert recorded.outputs[0].tolist() == [6, 6, 6, 6]


def close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether next to all are; a potential within rounding of its threshold may spike or not."""
    apart = (found.double() - expected.double()).abs() > tolerance
    return bool(apart.double().mean() < 1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(1,), (3, 7), (1, 32, 160, 160), (8, 48, 13, 13)])
@pytest.mark.parametrize("threshold", [1.0, 0.3])
@torch.no_grad()
def test_the_fused_step_is_the_plain_one(shape, dtype, threshold) -> None:
    pytest.importorskip("triton")
    from spyv4.neurons.ltc_triton import fused_ltc_step

    generator = torch.Generator(GPU).manual_seed(0)
    given = torch.randn((3, *shape), generator=generator, device=GPU).mul(2).to(dtype)
    current, mixed, u = given.unbind()
    if len(shape) == 4:
        current, mixed, u = (
            tensor.to(memory_format=torch.channels_last) for tensor in (current, mixed, u)
        )
    config = replace(NeuronConfig(), threshold=threshold)
    wanted, expected = ltc_step(current, mixed.sigmoid(), LTCState(u), config)
    spikes, after = fused_ltc_step(current, mixed, LTCState(u), threshold)
    assert spikes.dtype == after.u.dtype == dtype
    assert spikes.stride() == after.u.stride() == expected.u.stride()
    assert close(spikes, wanted, 0)
    assert close(after.u, expected.u, 1e-6)  # the halves: to the last bit


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@torch.no_grad()
def test_spikes_at_and_around_the_threshold_are_the_plain_ones(dtype) -> None:
    """Also of thresholds that the type lacks; with kappa = 1 the potential is the current."""
    pytest.importorskip("triton")
    from spyv4.neurons.ltc_triton import fused_ltc_step

    for threshold in (1.0, 0.3, 0.7, 1.1):
        near = torch.tensor(threshold, dtype=torch.float64).to(dtype)
        sides = [torch.nextafter(near, near + sign) for sign in (-1, 1)]
        current = torch.stack([*sides, near]).to(GPU)
        mixed, state = torch.full_like(current, 100.0), LTCState(torch.zeros_like(current))
        config = replace(NeuronConfig(), threshold=threshold)
        wanted, _ = ltc_step(current, mixed.sigmoid(), state, config)
        spikes, _ = fused_ltc_step(current, mixed, state, threshold)
        assert spikes.tolist() == wanted.tolist(), (threshold, spikes, wanted)
        assert spikes.tolist()[:2] == [0, 1]


@torch.no_grad()
def test_nan_stays_where_it_is() -> None:
    pytest.importorskip("triton")
    from spyv4.neurons.ltc_triton import fused_ltc_step

    for dtype, place in itertools.product((torch.float32, torch.bfloat16), range(3)):
        given = torch.full((3, 5000), 2.0, device=GPU, dtype=dtype)
        given[place, 1234] = float("nan")
        spikes, after = fused_ltc_step(given[0], given[1], LTCState(given[2]), 1.0)
        assert after.u.isnan().nonzero().tolist() == [[1234]]
        assert spikes[1234] == 0
        assert spikes.sum() == 4999


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_reads_alike_without_triton(precision, monkeypatch) -> None:
    pytest.importorskip("triton")
    single = TorchRuntime(tiny_model(), GPU, precision=precision)
    monkeypatch.setattr(fused, "has_triton", lambda device: False)
    plain = TorchRuntime(tiny_model(), GPU, precision=precision)
    assert plain.description == f"{single.description}, neurons without Triton"
    prepared, state = single.prepare(pictures(2)), single.initial_state(2, SIZE)
    for _ in range(4):
        found, wanted = (each.step(prepared, state) for each in (single, plain))
        for name, layer in wanted.state.layers.items():
            # A spike that comes or not moves what it drives.
            apart = (found.state.layers[name].u - layer.u).abs() > 1e-2
            assert apart.float().mean() < 0.01
        state = wanted.state


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "tiny.safetensors"
    save_model(tiny_model(), path)
    return path


def test_the_detector_takes_graphs_where_they_are_faster(weights) -> None:
    detector = Detector.load(weights, device="cuda")
    assert detector.engine.build == "done"
    assert {name.split()[0] for name in detector.engine.read_ms} == {"eager", "compiled"}
    graph, eager = (
        Detector.load(weights, device="cuda", precision="float32", compile=compiled)
        for compiled in (True, False)
    )
    assert graph.engine.description.startswith("torch compiled, float32, channels-last, cuda")
    assert eager.engine.description.startswith("torch eager, float32, channels-last, cuda")
    reads = [list(each.reads(frame(), 4, activity=True, **ANY)) for each in (graph, eager)]
    for one, other in zip(*reads, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("batch", ["1", "8"])
def test_bench_times_graphs_and_names_the_gpu(weights, tmp_path, batch) -> None:
    options = ["--device", "cuda", "--no-onnx", "--rounds", "2", "--batch-size", batch]
    file = tmp_path / "report.json"
    assert bench_command(["--weights", str(weights), *options, "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["device"] == torch.cuda.get_device_name()
    names = {row["name"] for row in report["timings"]}
    assert {"eager float32", "compiled float32"} <= names
    if torch.cuda.is_bf16_supported(including_emulation=False):
        assert {"eager bfloat16", "compiled bfloat16"} <= names


# The last, since torch is not quite itself after a capture that failed.
def test_a_read_that_cannot_be_recorded_is_said_and_the_gpu_goes_on() -> None:
    recorder = CudaRecorder(GPU)
    one = torch.ones(4, device=GPU)
    before = torch.cuda.current_stream()
    with pytest.raises(RuntimeUnavailableError, match="cannot be recorded as a CUDA graph"):
        recorder.record(lambda: [one * one.sum().item()])  # which waits for the GPU
    assert torch.cuda.current_stream() == before
    assert (one * 2).sum().item() == 8
