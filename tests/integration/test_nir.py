"""Networks of LIF neurons as NIR: a reader of the file gives what the network gives."""

import nir
import numpy as np
import pytest
import torch

from spyv4 import LAYER_NAMES, SPYv4
from spyv4.checkpoint import save_model
from spyv4.commands.export import export_command
from spyv4.config import HeadConfig
from spyv4.errors import ArgumentError, ConfigError
from spyv4.network.readout import ReadoutState, leaky_readout
from spyv4.runtime.nir_export import DT_S, PHASES, export_nir, head_maps, nir_graph
from spyv4.validation import to_mapping
from tests.helpers.nir_reader import NirReader
from tests.helpers.tiny_model import pictures, tiny_model

SIZE = (64, 96)
READS = 6
LIF = {"kind": "lif", "threshold": 0.9}


def lif_model(**changes: object) -> SPYv4:
    """A network whose update rates differ from channel to channel."""
    model = tiny_model(neuron=LIF, **changes)
    with torch.no_grad():
        for layer in model.spiking.values():
            layer.neuron.rate_logit.uniform_(-1, 2)
    return model


@pytest.fixture(scope="module")
def model() -> SPYv4:
    return lif_model()


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    """A file that `spyv4-export` wrote."""
    folder = tmp_path_factory.mktemp("nir")
    save_model(model, folder / "lif.safetensors")
    wanted = ["--weights", str(folder / "lif.safetensors"), "--output", str(folder / "a.nir")]
    assert export_command([*wanted, "--image-size", *map(str, SIZE)]) == 0
    return folder / "a.nir"


@torch.inference_mode()
def test_a_reader_of_the_file_gives_the_spikes_and_heads_of_the_network(model, path):
    reader, images = NirReader(nir.read(path), DT_S), pictures(2, SIZE)
    state, spiked = model.initial_state(2, SIZE), dict.fromkeys(LAYER_NAMES, 0.0)
    for _ in range(READS):
        maps, state, spikes = model.step_from_current(model.current(images), state)
        given = head_maps(reader.step(images), model.config)
        for ours, theirs in zip(maps, given, strict=True):
            torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
        for name, ours in spikes.items():
            spiked[name] += float(ours.mean())
            if name == "lateral":  # four equal neurons are one
                theirs = reader.sent[name].repeat_interleave(2, 2).repeat_interleave(2, 3)
                assert torch.equal(theirs, ours)
            elif name == "p4_out":
                for down, across in PHASES:
                    theirs = reader.sent[f"{name}_{down}{across}"]
                    assert torch.equal(theirs, ours[:, :, down::2, across::2])
            else:
                assert torch.equal(reader.sent[name], ours), name
    assert all(0.01 < rate / READS < 0.99 for rate in spiked.values())


@torch.inference_mode()
def test_a_leaky_read_out_is_left_to_the_reader():
    model = lif_model(readout="leaky")
    reader, images = NirReader(nir_graph(model, SIZE), DT_S), pictures(1, SIZE)
    state = model.initial_state(1, SIZE)
    sums = state.readout
    assert isinstance(sums, ReadoutState)
    for _ in range(3):
        maps, state = model.step(images, state)
        given = head_maps(reader.step(images), model.config)
        averaged, sums = leaky_readout(given, sums, model.config.readout_rate)
        for ours, theirs in zip(maps, averaged, strict=True):
            torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


def test_pooling_needs_no_rule_of_integration():
    """A sum of 1..4 spikes, whatever share of the way to it a step goes: all or 1 - 1/e of it."""
    graph = nir_graph(lif_model(), SIZE)
    pooled = [node for name, node in graph.nodes.items() if name.endswith("_pooled")]
    assert len(pooled) == 6
    for node in pooled:
        assert (node.tau == np.float32(DT_S)).all()
        assert (node.v_threshold < 1 - np.exp(-1)).all()


def test_only_nodes_that_most_readers_know_and_one_output(path, model):
    graph = nir.read(path)
    kinds = {type(node).__name__ for node in graph.nodes.values()}
    assert kinds == {"Input", "Conv2d", "LIF", "SumPool2d", "Output"}
    assert list(graph.input_type) == ["image"]
    assert list(graph.output_type) == ["heads"]
    assert sum(target == "heads" for _, target in graph.edges) == 1
    assert (graph.metadata["format"], graph.metadata["dt_s"]) == ("spyv4-nir-1", DT_S)
    assert '"lif"' in graph.metadata["config"]


def test_what_the_command_says(path, tmp_path, capsys):
    weights = path.with_name("lif.safetensors")
    out = tmp_path / "out" / "b.nir"
    assert export_command(["--weights", str(weights), "--output", str(out)]) == 0
    assert f"wrote {out} for pictures of 64 x 64" in capsys.readouterr().out
    assert export_command(["--weights", str(weights), "--output", str(out.with_suffix(".h5"))]) == 2
    assert "must end in .onnx or .nir" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["ltc", "adaptive-ltc", "adaptive-lif", "leaky-relu"])
def test_other_neurons_are_refused(kind, tmp_path):
    model = tiny_model(neuron={"kind": kind})
    with pytest.raises(ArgumentError, match=rf"no node for the {kind} neurons of tiny.*nir\.md"):
        export_nir(model, tmp_path / "a.nir", SIZE)
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_weights_are_refused_in_a_line(tmp_path, capsys):
    assert export_command(["--output", str(tmp_path / "a.nir")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no node for the ltc neurons of spyv4 (" in error


def test_other_heads_and_sizes_are_refused(model, tmp_path):
    with pytest.raises(ConfigError, match="multiples of 32"):
        export_nir(model, tmp_path / "a.nir", (64, 90))
    heads = [to_mapping(HeadConfig("csp3_d", ((10, 10),)))]
    with pytest.raises(ArgumentError, match="stride 32, not csp3_d"):
        export_nir(tiny_model(neuron=LIF, heads=heads), tmp_path / "a.nir", SIZE)
