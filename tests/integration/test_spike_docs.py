"""The programs in docs/spikes.md run as they are."""

import re
from pathlib import Path

import numpy as np

from spyv4 import Detector
from tests.unit.detector_app.lively import lively_detector

PAGE = Path(__file__).parents[2] / "docs" / "spikes.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_programs_of_the_page(tmp_path, monkeypatch, jpeg):
    detector = lively_detector()
    monkeypatch.setattr(Detector, "load", lambda: detector)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    Path("dog.jpg").write_bytes(jpeg)
    python, plain, raster = PROGRAMS
    names: dict[str, object] = {}
    exec(python, names)
    exec(plain, names)
    record, spikes = names["record"], names["spikes"]
    assert set(spikes) == set(record)
    for name in record:
        np.testing.assert_array_equal(spikes[name], record[name])
        np.testing.assert_array_equal(names["same"][name], record[name])
    exec(raster, names)
    assert Path("spikes.png").stat().st_size > 10_000
