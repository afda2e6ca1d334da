"""The figures of the paper: their neuron, their data, and their files."""

import json
import math

import cv2
import numpy as np
import pytest
import torch

from spyv4 import Detector
from spyv4.errors import ArgumentError
from spyv4.network.table import LAYER_NAMES
from tests.helpers.clips import write_clip
from tests.helpers.tiny_model import tiny_model
from training.commands.tasks import tasks_command
from training.tasks.figures.figure_1c import VALUES, measure_1c
from training.tasks.figures.figure_1d import WINDOW, measure_1d, recent_rate, varying
from training.tasks.figures.figure_3c import DEEP, NEURONS, SHALLOW, Scenes, draw_3c, watch
from training.tasks.figures.neuron import Weights, respond
from training.tasks.figures.scenes import empty_scene, read_frames


def stepped(currents, weights):
    """Equation (8) of the paper in plain numbers: alpha keeps the potential, rho the adaptation."""
    u = b = spike = 0.0
    spikes = []
    for current in currents:
        alpha = 1 / (1 + math.exp(-weights.membrane * current))
        rho = 1 / (1 + math.exp(-weights.adaptation * current))
        b = rho * b + (1 - rho) * spike
        u = alpha * u + (1 - alpha) * current
        spike = float(u > 0.1 + 1.8 * b)
        u = (1 - spike) * u
        spikes.append(spike)
    return spikes


@pytest.mark.parametrize("weights", [Weights(-1, 0.5), Weights(1, 1), Weights(0.5, -1)])
def test_the_neuron_is_that_of_equation_8(weights):
    currents = [0.05, 0.3, 1.7, 4.0, 0.0, 2.5] * 20
    spikes = respond(torch.tensor(currents, dtype=torch.float64)[:, None], weights)
    assert spikes[:, 0].tolist() == stepped(currents, weights)
    assert 0 < spikes.mean() < 1


def test_firing_rates_of_16_combinations():
    data = measure_1c()
    assert len(data["firing_rates"]) == len(VALUES) ** 2
    for rates in data["firing_rates"].values():
        assert len(rates) == len(data["currents"])
        assert rates[0] == 0, "no input, no spikes"
        assert 0 < max(rates) <= 1
    slow, fast = (data["firing_rates"][f"membrane {w:g}, adaptation 1"] for w in (1, -1))
    assert fast[-1] > slow[-1], "a potential that keeps little follows strong input"


def test_a_recent_rate_is_the_mean_of_the_last_steps():
    spikes = torch.zeros(100)
    spikes[::2] = 1
    spikes[60:] = 0
    rates = recent_rate(spikes)
    assert rates[0] == 1
    assert rates[1] == 0.5
    assert rates[50].item() == pytest.approx(spikes[51 - WINDOW : 51].mean().item())
    assert rates[-1] == 0


def test_the_varying_current_and_its_four_answers():
    data = measure_1d()
    assert len(data["firing_rates"]) == 4
    assert {len(rates) for rates in data["firing_rates"].values()} == {len(varying())}
    assert len({tuple(rates) for rates in data["firing_rates"].values()}) == 4, "two are the same"


@pytest.mark.parametrize("figure", ["1c", "1d"])
def test_a_command_draws_a_figure_and_its_data(figure, tmp_path, capsys):
    assert tasks_command(["figure", figure, "--output", str(tmp_path)]) == 0
    picture = cv2.imread(str(tmp_path / f"figure-{figure}.png"))
    assert picture.std() > 10
    assert json.loads((tmp_path / f"figure-{figure}.json").read_text())["firing_rates"]
    assert f"figure-{figure}.png" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 2


def test_a_figure_of_a_video_needs_one(tmp_path, capsys):
    assert tasks_command(["figure", "3c", "--output", str(tmp_path)]) == 2
    assert "name one with --clip FILE" in capsys.readouterr().err


def test_a_clip_that_is_none(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no clip")
    with pytest.raises(ArgumentError, match=r"clip\.mp4 is not a video"):
        list(read_frames(path))
    with pytest.raises(ArgumentError, match=r"clip\.mp4 is not a video"):
        empty_scene(path)


@pytest.fixture
def moving(tmp_path):
    """A bright square that crosses a dark scene in 12 frames."""
    path = tmp_path / "moving.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (96, 64))
    for number in range(12):
        frame = np.full((64, 96, 3), 40, np.uint8)
        frame[20:44, 8 * number : 8 * number + 8] = 250
        writer.write(frame)
    writer.release()
    return path


def test_the_empty_scene_is_without_what_moves(moving):
    scene = empty_scene(moving)
    assert scene.shape == (64, 96, 3)
    assert np.abs(scene.astype(int) - 40).max() < 20


@pytest.fixture(scope="module")
def detector():
    return Detector.from_model(tiny_model())


def test_rates_are_those_of_the_detector_that_carries_its_state(moving, detector):
    seen = watch(detector, Scenes(moving, frames=5))
    assert seen.turn == 5
    assert seen.rates.shape == (10, len(LAYER_NAMES))
    assert {spikes.shape for spikes in seen.spikes.values()} == {(10, NEURONS)}
    assert len(seen.examples) == 6
    frames = [*read_frames(moving, 5), *[empty_scene(moving)] * 5]
    own = detector.stream(frames, reads=1, carry_state=True, activity=True)
    for rates, found in zip(seen.rates, own, strict=True):
        assert found.firing_rates is not None
        np.testing.assert_allclose(rates, list(found.firing_rates.values()), atol=1e-6)


def test_the_second_half_may_be_another_clip(moving, detector, tmp_path):
    other = write_clip(tmp_path / "other.mp4", frames=3)
    files = draw_3c(tmp_path / "out", Scenes(moving, other, frames=8), detector)
    data = json.loads(files.data.read_text())
    assert files.picture.name == "figure-3c-moving.png"
    assert (data["turn"], data["frames"], data["irrelevant"]) == (8, 11, "other.mp4")
    layers = data["share_of_neurons_that_spiked"]
    assert tuple(layers) == LAYER_NAMES
    trace = data["by_frame"][DEEP]
    assert layers[DEEP]["relevant"] == pytest.approx(np.mean(trace[:8]), abs=2e-5)
    assert layers[DEEP]["irrelevant"] == pytest.approx(np.mean(trace[8:]), abs=2e-5)
    assert set(data["by_frame"]) == {SHALLOW, DEEP}
    assert cv2.imread(str(files.picture)).std() > 10


def test_neurons_are_drawn_by_the_seed(moving, detector):
    one, same, other = (
        watch(detector, Scenes(moving, frames=3, seed=seed)).spikes[SHALLOW] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
