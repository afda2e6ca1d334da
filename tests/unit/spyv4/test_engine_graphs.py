"""Where reads are recorded as graphs, they are measured and taken at once; with a stand-in here."""

import argparse
import logging

import pytest
import torch

from spyv4 import bench, bench_ways, engine
from spyv4.bench_ways import Subject, measure
from spyv4.checkpoint import save_model
from spyv4.engine import Network, open_network
from spyv4.errors import RuntimeUnavailableError
from spyv4.runtime import choice
from spyv4.runtime.cuda_graph import GraphStep
from spyv4.runtime.step_compiler import check_step
from spyv4.runtime.ways import Way
from tests.helpers.graphs import Repeater
from tests.helpers.tiny_model import tiny_model

SIZE = (64, 64)
EAGER, HALF = Way("eager", "float32"), Way("eager", "bfloat16")
GRAPH, HALF_GRAPH = Way("compiled", "float32"), Way("compiled", "bfloat16")


def record_by_repeating(runtime, image_size):
    step = GraphStep(runtime.model, Repeater())
    check_step(runtime, runtime, image_size, step)
    return step


def refuse(runtime, image_size):
    raise RuntimeUnavailableError("a read cannot be recorded")


@pytest.fixture
def network(tmp_path, monkeypatch):
    """On a device that has graphs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_model(tiny_model(), tmp_path / "tiny.safetensors")
    for module in (engine, bench_ways):
        monkeypatch.setattr(module, "precisions", lambda device, int8: ("float32", "bfloat16"))
        monkeypatch.setattr(module, "has_graphs", lambda device: True)
        monkeypatch.setattr(module, "record_step", record_by_repeating)
    # Which would compile ahead of time.
    for module in (engine, bench_ways):
        monkeypatch.setattr(module, "compile_step", lambda *_: pytest.fail("compiles"))
    monkeypatch.setattr(bench_ways, "can_compile", lambda: False)
    return Network(tmp_path / "tiny.safetensors", SIZE, torch.device("cpu"))


@pytest.fixture
def measured(monkeypatch):
    """Measurements come out like this; the ways that were measured."""
    read_ms = {EAGER: 4, HALF: 3, GRAPH: 2, HALF_GRAPH: 1}
    ways = []

    def time_reads(runtimes, _, budget_s=0):
        ways.extend(runtimes)
        return {way: read_ms[way] for way in runtimes}

    monkeypatch.setattr(choice, "time_reads", time_reads)
    return ways


def test_the_first_start_measures_graphs_and_the_next_remembers(network, measured) -> None:
    assert open_network(network).way == HALF_GRAPH
    assert set(measured) == {EAGER, HALF, GRAPH, HALF_GRAPH}
    assert engine.recalled(network).complete
    measured.clear()
    assert open_network(network).way == HALF_GRAPH
    assert open_network(network, compiled=False).way == HALF
    assert open_network(network, compiled=True).way == HALF_GRAPH
    assert open_network(network, precision="float32").way == GRAPH
    assert not measured


def test_a_precision_that_is_named_is_not_measured(network, measured) -> None:
    assert open_network(network, precision="float32").way == GRAPH
    assert open_network(network, precision="float32", compiled=False).way == EAGER
    assert not measured


def test_without_graphs_none_is_recorded(network, measured, monkeypatch, caplog) -> None:
    monkeypatch.setattr(engine, "record_step", refuse)
    with caplog.at_level(logging.WARNING):
        assert open_network(network, compiled=False).way == HALF
    assert measured == [EAGER, HALF]
    assert not caplog.records


def test_a_gpu_that_refuses_is_said_and_read_by_eagerly(
    network, measured, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(engine, "record_step", refuse)
    with caplog.at_level(logging.WARNING):
        assert open_network(network).way == HALF
    assert caplog.text.count("a read cannot be recorded") == 2
    assert measured == [EAGER, HALF]
    with pytest.raises(RuntimeUnavailableError, match="cannot be recorded"):
        open_network(network, compiled=True)


def test_a_graph_that_reads_otherwise_is_not_used(network, measured, monkeypatch, caplog) -> None:
    def record_another(runtime, image_size):
        step = GraphStep(tiny_model(seed=1).fold().to(runtime.dtype), Repeater())
        check_step(runtime, runtime, image_size, step)
        return step

    monkeypatch.setattr(engine, "record_step", record_another)
    with caplog.at_level(logging.WARNING):
        assert open_network(network, precision="float32").way == EAGER
    assert "is off by" in caplog.text


@pytest.mark.parametrize("batch", [1, 8])
def test_bench_times_graphs(network, measured, monkeypatch, batch) -> None:
    monkeypatch.setattr(bench, "PEAK_SIDES", {"cpu": 64})
    options = argparse.Namespace(
        batch_size=batch, reads=2, rounds=1, no_compiled=False, no_onnx=True, retune=False
    )
    subject = Subject(None, str(network.weights))
    report = measure(subject, SIZE, network.device, options, tell=lambda _: None)
    names = {row["name"] for row in report["timings"]}
    assert names >= {str(way) for way in (EAGER, HALF, GRAPH, HALF_GRAPH)}
    assert report["batch_size"] == batch
    assert report["chosen"] == str(HALF_GRAPH)
    options.no_compiled = True
    report = measure(subject, SIZE, network.device, options, tell=lambda _: None)
    assert not any("compiled" in row["name"] for row in report["timings"])
