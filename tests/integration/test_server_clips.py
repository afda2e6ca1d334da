"""`POST /detect` with several pictures, and with clips."""

import json
import tempfile
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from detector_app.http.app import create_app
from detector_app.settings import Settings
from detector_app.stream.demo import DemoSource
from tests.helpers.clips import read_clip, write_clip
from tests.unit.detector_app.scripted import wait_until
from tests.unit.detector_app.serving import serving

QUERY = {"reads": 2, "score_threshold": 0.55}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=23)


@pytest.fixture(scope="module")
def decoded(clip):
    return read_clip(clip)


def lines_of(response):
    return [json.loads(line) for line in response.text.splitlines()]


def test_several_pictures_are_answered_in_their_order(client, detector):
    frames = [cv2.imencode(".jpg", DemoSource().frame(i))[1].tobytes() for i in (0, 250, 450)]
    sent = [*frames[:2], b"no picture", frames[2]]
    answer = client.post("/detect", params=QUERY, files=[("image", data) for data in sent])
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert "not a picture" in results.pop(2)["detail"]
    for found, data in zip(results, frames, strict=True):
        expected = detector.detect(data, **QUERY)
        boxes = [box["box"] for box in found["detections"]]
        np.testing.assert_allclose(np.reshape(boxes, (-1, 4)), expected.boxes_xyxy, atol=0.01)
        assert set(found["timings_ms"]) == {"preprocess", "network", "decode", "wait", "total"}
    assert len({json.dumps(found["detections"]) for found in results}) == 3


def test_what_is_too_many_or_cannot_be_drawn(client, jpeg, clip):
    many = client.post("/detect", files=[("image", jpeg)] * 17)
    assert many.status_code == 400
    assert "at most 16" in many.json()["detail"]
    header = {"Accept": "image/jpeg"}
    drawn = client.post("/detect", files=[("image", jpeg)] * 2, headers=header)
    assert drawn.status_code == 422
    mixed = client.post("/detect", files=[("image", jpeg), ("image", clip.read_bytes())])
    assert mixed.status_code == 422
    assert "one clip at a time" in mixed.json()["detail"]


@pytest.mark.parametrize("every", [1, 5])
def test_a_clip_gives_a_line_for_every_frame(client, detector, clip, decoded, every):
    query = {**QUERY, "every": every}
    answer = client.post("/detect", params=query, content=clip.read_bytes())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = lines_of(answer)
    assert [line["frame"] for line in lines] == list(range(0, 23, every))
    assert lines[1]["time_s"] == pytest.approx(every / decoded.rate, abs=1e-3)
    for line in lines:
        expected = detector.detect(decoded.frames[line["frame"]], **QUERY)
        boxes = np.reshape([box["box"] for box in line["detections"]], (-1, 4))
        np.testing.assert_allclose(boxes, expected.boxes_xyxy, atol=0.02)


def test_a_clip_that_is_damaged_says_so(client, clip):
    data = clip.read_bytes()
    unreadable = client.post("/detect", content=data[:200])
    assert unreadable.status_code == 415
    assert "the clip is not a video" in unreadable.json()["detail"]
    playlist = client.post("/detect", content=b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    assert playlist.status_code == 415
    assert "not a picture" in playlist.json()["detail"]
    middle = len(data) // 2
    hole = client.post(
        "/detect", content=data[: middle - 4000] + bytes(8000) + data[middle + 4000 :]
    )
    said = [line["detail"] for line in lines_of(hole) if "detail" in line]
    assert all(str(tempfile.gettempdir()) not in line for line in said)


def test_a_clip_of_large_frames_is_refused(detector, clip):
    app = create_app(Settings(source="none", max_megapixels=0.001), detector)
    with serving(app) as address:
        refused = httpx.post(f"{address}/detect", content=clip.read_bytes())
    assert refused.status_code == 413
    assert "0.001 million pixels" in refused.json()["detail"]


def test_who_leaves_ends_the_look_at_a_clip(detector, clip, jpeg, tmp_path, monkeypatch):
    """Its place is free again, no file is left, and no thread goes on."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    app = create_app(Settings(source="none", max_clips=1), detector)
    long = write_clip(tmp_path / "long" / "clip.mp4", frames=200)
    with serving(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        sent = {"content": long.read_bytes(), "params": {"reads": 32}}
        with client.stream("POST", "/detect", **sent) as response:
            lines = response.iter_lines()
            assert json.loads(next(lines))["frame"] == 0
            busy = client.post("/detect", **sent)
            assert busy.status_code == 503
            assert "clips are looked at already" in busy.json()["detail"]
            assert client.post("/detect", content=jpeg).status_code == 200
        wait_until(lambda: [path.name for path in Path(tmp_path).iterdir()] == ["long"])
        whole = client.post("/detect", content=clip.read_bytes(), params=QUERY)
        assert len(lines_of(whole)) == 23


def test_classes_may_be_asked_for(client, detector, jpeg):
    names = list(detector.config.class_names)
    query = {"score_threshold": 0.4, "reads": 2}
    found = client.post("/detect", content=jpeg, params=query).json()["detections"]
    some = {box["class"] for box in found[:1]}
    only = client.post("/detect", content=jpeg, params={**query, "classes": ",".join(some)})
    assert {box["class"] for box in only.json()["detections"]} == some != set(names)
    merged = client.post("/detect", content=jpeg, params={**query, "agnostic_nms": True})
    assert 0 < len(merged.json()["detections"]) < len(found)
    refused = client.post("/detect", content=jpeg, params={"classes": "persom"})
    assert refused.status_code == 422
    assert "'person'" in refused.json()["detail"]
