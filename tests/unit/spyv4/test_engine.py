"""A network is opened the fastest way that is known here."""

import logging

import pytest
import torch

from spyv4 import engine
from spyv4.checkpoint import save_model
from spyv4.engine import Network, open_network
from spyv4.errors import RuntimeUnavailableError
from spyv4.runtime import cache, choice
from spyv4.runtime.choice import Choice
from spyv4.runtime.ways import Way
from tests.helpers.tiny_model import tiny_model

EAGER, HALF = Way("eager", "float32"), Way("eager", "bfloat16")
COMPILED = Way("compiled", "float32")


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_model(tiny_model(), tmp_path / "tiny.safetensors")
    monkeypatch.setattr(engine, "precisions", lambda device, int8: ("float32", "bfloat16"))
    return Network(tmp_path / "tiny.safetensors", (64, 64), torch.device("cpu"))


def measures(monkeypatch, **read_ms):
    """Make every measurement come out like this; the ways that were measured."""
    measured = []

    def time_reads(runtimes, _, budget_s=0):
        measured.extend(runtimes)
        return {way: read_ms[way.precision] for way in runtimes}

    monkeypatch.setattr(choice, "time_reads", time_reads)
    monkeypatch.setattr(choice, "enough_threads", lambda runtime, size, budget_s: 1)
    return measured


def test_the_first_start_measures_and_the_next_remembers(network, monkeypatch) -> None:
    measured = measures(monkeypatch, float32=3, bfloat16=1)
    assert open_network(network).way == HALF
    assert measured == [EAGER, HALF]
    assert open_network(network).way == HALF
    assert measured == [EAGER, HALF]
    engine.forget(network)
    measures(monkeypatch, float32=1, bfloat16=3)
    assert open_network(network).way == EAGER


def test_what_is_named_is_not_measured(network, monkeypatch) -> None:
    measured = measures(monkeypatch, float32=3, bfloat16=1)
    assert open_network(network, precision="float32").way == EAGER
    assert not measured


def test_eight_bits_are_chosen_only_where_the_card_has_their_map(monkeypatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(engine, "precisions", lambda device, int8: ("int8",) if int8 else ())
    monkeypatch.setattr(engine, "measured_precisions", lambda _: frozenset({"int8"}))
    assert Network(engine.Path("w"), (64, 64), cpu).precisions == ("int8",)
    monkeypatch.setattr(engine, "measured_precisions", lambda _: frozenset({"float32"}))
    assert Network(engine.Path("w"), (64, 64), cpu).precisions == ()


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ({}, "float32"),  # whose compiled step is the fastest of all
        ({"compiled": False}, "bfloat16"),
        ({"precision": "bfloat16"}, "bfloat16"),
    ],
)
def test_a_complete_choice_is_followed_as_far_as_it_may_be(network, options, precision) -> None:
    known = Choice({EAGER: 9, HALF: 4, COMPILED: 2}, complete=True)
    cache.remember(network.key, known.to_mapping())
    runtime = open_network(network, **options)
    assert runtime.precision == precision
    assert runtime.way.engine == "eager"  # since no step was built


def test_a_step_that_is_damaged_is_said_and_not_used(network, caplog) -> None:
    folder = cache.package_folder(network.key, "float32")
    folder.mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        assert open_network(network, precision="float32").way == EAGER
    assert "holds no compiled step" in caplog.text


def test_a_cache_that_cannot_be_written_costs_a_warning(network, monkeypatch, caplog) -> None:
    measures(monkeypatch, float32=3, bfloat16=1)
    blocked = network.weights.parent / "blocked"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    with caplog.at_level(logging.WARNING):
        assert open_network(network).way == HALF
    assert "cannot be remembered" in caplog.text


def test_damaged_facts_are_measured_anew(network, monkeypatch) -> None:
    cache.remember(network.key, {"read_ms": "fast"})
    measured = measures(monkeypatch, float32=3, bfloat16=1)
    assert open_network(network).way == HALF
    assert measured


def test_compiling_needs_a_compiler(network, monkeypatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match=r"g\+\+"):
        open_network(network, precision="float32", compiled=True)
