"""`spyv4-detect --save-spikes`: one file for a picture, or a folder of them."""

import json

import numpy as np
import pytest

from spyv4 import LAYER_NAMES, load_spikes
from spyv4.spikes import SpikeRecord
from tests.helpers.clips import write_clip
from tests.unit.detector_app.detect_runs import files, lines, run

pytestmark = pytest.mark.usefixtures("tiny")


def test_the_spikes_of_a_picture(pictures, tmp_path, detector):
    out = tmp_path / "out"
    wanted = ["--json", out / "boxes.json", "--save-spikes", out / "s.npz"]
    assert run(pictures / "a.png", "--output", out, *wanted, reads=3) == 0
    assert files(out) == {"a.jpg", "boxes.json", "s.npz"}
    record = load_spikes(out / "s.npz")
    (boxes,) = json.loads((out / "boxes.json").read_text()).values()
    assert record.reads == 3
    assert record.detections[-1].to_list() == boxes != []
    expected = detector.spikes(pictures / "a.png", reads=3)
    assert all((record[name] == expected[name]).all() for name in LAYER_NAMES)
    assert record.potentials == {}


def test_potentials_too(pictures, tmp_path):
    for kind in ("float16", "float32"):
        wanted = ["--save-spikes", tmp_path / "s.npz", "--save-potentials", kind]
        assert run(pictures / "a.png", "--no-save", *wanted) == 0
        potentials = load_spikes(tmp_path / "s.npz").potentials
        assert {u.dtype for u in potentials.values()} == {np.dtype(kind)}
        assert tuple(potentials) == LAYER_NAMES


def test_a_file_a_picture_in_a_folder(pictures, tmp_path, capsys):
    (pictures / "aa.jpg").write_bytes((pictures / "b.jpg").read_bytes()[:-3000])
    out = tmp_path / "out"
    assert run(pictures, "--output", out, "--no-save", "--save-spikes", out / "spikes") == 2
    assert "aa.jpg" in capsys.readouterr().err
    assert files(out) == {"spikes/a.npz", "spikes/b.npz"}
    # Another run replaces them, and two inputs of one name have two files.
    (pictures / "b.png").write_bytes((pictures / "a.png").read_bytes())
    assert run(pictures, "--output", out, "--no-save", "--save-spikes", out / "spikes") == 2
    assert files(out) == {"spikes/a.npz", "spikes/b.npz", "spikes/b-2.npz"}


def test_a_file_a_frame_of_a_clip(tmp_path):
    clip = write_clip(tmp_path / "still.mp4", frames=3, moves=False)
    wanted = ["--no-save", "--jsonl", tmp_path / "l"]
    assert run(clip, *wanted, "--save-spikes", tmp_path / "new", "--every", 2) == 0
    assert run(clip, *wanted, "--save-spikes", tmp_path / "carried", "--carry-state") == 0
    assert files(tmp_path / "new") == {"still-000000.npz", "still-000002.npz"}
    assert len(files(tmp_path / "carried")) == 3
    new = load_spikes(tmp_path / "new" / "still-000002.npz")
    carried = load_spikes(tmp_path / "carried" / "still-000002.npz")
    assert (new["deep"] != carried["deep"]).any()
    assert carried.detections[-1].to_list() == lines(tmp_path / "l")[-1]["detections"]


def test_records_are_forgotten_once_they_are_written(clip, tmp_path, monkeypatch):
    """A clip may be of any length."""
    alive, most = 0, 0

    class Counted(SpikeRecord):
        def __init__(self, *values):
            nonlocal alive, most
            super().__init__(*values)
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    monkeypatch.setattr("spyv4.recording.SpikeRecord", Counted)
    wanted = ["--no-save", "--jsonl", tmp_path / "l", "--json", tmp_path / "j"]
    assert run(clip, *wanted, "--save-spikes", tmp_path / "s") == 0
    assert len(files(tmp_path / "s")) == 7
    assert 1 <= most <= 3


def test_what_does_not_fit_is_refused_before_anything_is_written(pictures, clip, tmp_path, capsys):
    out = tmp_path / "out"

    def refused(*arguments):
        assert run(*arguments, "--output", out) == 2
        assert not out.exists()
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    one = pictures / "a.png"
    assert "add --save-spikes FILE.npz" in refused(one, "--save-potentials", "float16")
    error = refused(pictures, "--save-spikes", out / "s.npz")
    assert f"holds one picture, not 3 inputs; name a folder instead, such as {out / 's'}" in error
    assert "not a clip" in refused(clip, "--save-spikes", out / "s.npz")
    assert "must be FILE.npz, or a folder" in refused(one, "--save-spikes", out / "s.npy")
    compiled = refused(one, "--save-spikes", out / "s.npz", "--compile")
    assert "leave out --compile or --save-spikes" in compiled
    both = ["--json", out / "s.npz", "--save-spikes", out / "s.npz"]
    assert "--save-spikes" in refused(one, *both)
