import json

import cv2
import numpy as np
import torch

from spyv4.checkpoint import save_model
from tests.helpers.tiny_model import pictures, tiny_model
from training.benchmarks.silence import main, silence


def test_a_network_that_never_spikes_could_skip_everything() -> None:
    model = tiny_model().fold()
    quiet = silence(model, pictures(), 2)
    assert 0 < quiet["saved_at_most"] < 0.9
    assert all(0 < row["ones"] < 0.9 for row in quiet["layers"])
    with torch.no_grad():
        for layer in model.spiking.values():
            layer.synapse.conv.weight.zero_()
            layer.synapse.conv.bias.fill_(-1)
    silent = silence(model, pictures(), 2)
    assert silent["saved_at_most"] == 1
    assert all(row["ones"] == 0 for row in silent["layers"])


def test_the_command_writes_what_it_says(tmp_path, capsys) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((50, 60, 3), 90, np.uint8))
    save_model(tiny_model(), tmp_path / "tiny.safetensors")
    arguments = [str(tmp_path / "a.png"), "--weights", str(tmp_path / "tiny.safetensors")]
    assert main([*arguments, "--reads", "1", "--json", str(tmp_path / "s.json")]) == 0
    report = json.loads((tmp_path / "s.json").read_text())
    assert len(report["layers"]) == 18
    assert f"{report['saved_at_most']:.1%} at most" in capsys.readouterr().out
