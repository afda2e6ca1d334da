"""The clients in Python, for threads and for asyncio, against a real server."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from detector_app.errors import UnavailableError
from detector_app.stream.demo import DemoSource
from spyv4.errors import ArgumentError
from tests.helpers.scripted_http import EMPTY, Answer, answering
from tests.unit.detector_app.running import hold
from tests.unit.detector_app.scripted import wait_until

BUSY = b'{"detail": "no room"}'


def assert_same(result, expected):
    assert len(expected) > 0
    assert result.names == expected.names
    np.testing.assert_array_equal(result.labels, expected.labels)
    np.testing.assert_allclose(result.boxes_xyxy, expected.boxes_xyxy, atol=0.01)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-4)
    assert (result.image_size, result.reads) == (expected.image_size, expected.reads)
    assert [array.dtype for array in (result.boxes_xyxy, result.scores, result.labels)] == [
        np.float32,
        np.float32,
        np.int64,
    ]


def test_every_kind_of_picture_gives_what_the_detector_gives(asking, detector, jpeg, tmp_path):
    frame = DemoSource().frame(0)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    options = {"reads": 2, "score_threshold": 0.55, "iou_threshold": 0.4}
    of_file, of_pixels = (detector.detect(image, **options) for image in (jpeg, frame))
    for image in (jpeg, tmp_path / "a.jpg", str(tmp_path / "a.jpg")):
        assert_same(asking.detect(image, **options), of_file)
    for image in (frame, Image.fromarray(frame[..., ::-1])):
        assert_same(asking.detect(image, **options), of_pixels)


def test_auto_is_that_of_the_server(asking, detector, jpeg):
    options = {"reads": "auto", "score_threshold": 0.55}
    assert asking.detect(jpeg, **options).reads == detector.detect(jpeg, **options).reads
    assert len(asking.reads(jpeg, reads="auto", score_threshold=1.0)) == 2


def test_a_result_has_rates_times_and_what_detections_can(asking, detector, jpeg):
    result = asking.detect(jpeg, score_threshold=0.55)
    assert list(result.firing_rates) == list(detector.layer_names)
    assert 0 < max(result.firing_rates.values()) <= 1
    assert result.timings_ms["total"] >= result.timings_ms["network"] > 0
    assert len(result.filter(classes=result.names[0])) >= 1
    assert result.plot(jpeg).shape == (480, 640, 3)


def test_the_boxes_after_every_read(asking, detector, jpeg):
    options = {"reads": 3, "score_threshold": 0.5}
    results = asking.reads(jpeg, **options)
    for result, expected in zip(results, detector.reads(jpeg, **options), strict=True):
        assert_same(result, expected)
    assert results[0].firing_rates != results[1].firing_rates
    assert [bool(result.timings_ms) for result in results] == [False, False, True]


def test_the_picture_with_its_boxes(asking, url, jpeg):
    query = {"reads": 2, "score_threshold": 0.55}
    posted = httpx.post(
        f"{url}/detect", content=jpeg, params=query, headers={"Accept": "image/jpeg"}
    )
    assert asking.annotated(jpeg, **query) == posted.content
    assert asking.annotated(jpeg, reads=2, score_threshold=1.0) != posted.content


def test_how_the_server_is(asking, detector):
    health = asking.health()
    assert (health.model, health.state) == (detector.config.name, "idle")
    assert health.classes == list(detector.config.class_names)
    assert health.queue["size"] == 2
    assert asking.ready() is True


def test_a_full_queue_is_not_ready_and_is_asked_again_as_the_server_says(kind, app, url, jpeg):
    _, held, release = hold(app.state.hub.scheduler)
    try:
        with ThreadPoolExecutor(3) as pool, kind(url) as patient, kind(url, retries=0) as hasty:
            waiting = [pool.submit(httpx.post, f"{url}/detect", content=jpeg) for _ in range(2)]
            wait_until(lambda: app.state.intake.waiting == 2)
            assert hasty.ready() is False
            with pytest.raises(UnavailableError, match="again") as refused:
                hasty.detect(jpeg)
            assert refused.value.status == 503
            later = pool.submit(patient.detect, jpeg)
            assert not later.done()
            release.set()
            assert later.result(20).reads == 3
            assert [future.result().status_code for future in waiting] == [200, 200]
    finally:
        release.set()
        held.result(10)


def test_the_pause_is_the_one_asked_for_and_the_picture_is_sent_whole_again(kind):
    busy = Answer(503, BUSY, {"Retry-After": "1"})
    with (
        answering(busy, busy._replace(headers={"Retry-After": "0"}), Answer(200, EMPTY)) as heard,
        kind(heard.url) as client,
    ):
        result = client.detect(b"a picture")
    assert (result.image_size, len(result), result.class_names) == ((5, 9), 0, ())
    assert heard.bodies == [b"a picture"] * 3
    assert 1.0 <= heard.times[1] - heard.times[0] < 2.0
    assert heard.times[2] - heard.times[1] < 0.5


@pytest.mark.parametrize(
    ("headers", "retries", "asked"),
    [
        ({"Retry-After": "0"}, 2, 3),
        ({"Retry-After": "0"}, 0, 1),
        ({}, 2, 1),
        ({"Retry-After": "9"}, 2, 1),
        ({"Retry-After": "tomorrow"}, 2, 1),
    ],
)
def test_it_is_asked_again_only_so_often_and_where_told(kind, headers, retries, asked):
    with (
        answering(Answer(503, BUSY, headers)) as heard,
        kind(heard.url, retries=retries, timeout_s=5) as client,
        pytest.raises(UnavailableError, match=r"^no room$"),
    ):
        client.detect(b"a picture")
    assert len(heard.bodies) == asked


def test_only_some_classes_and_one_box_where_they_overlap(asking, detector, jpeg):
    everything = detector.detect(jpeg, score_threshold=0.5)
    wanted = everything.names[0]
    for classes in (wanted, [wanted], (wanted, "bird")):
        expected = {wanted, "bird"} if "bird" in classes else {wanted}
        found = asking.detect(jpeg, score_threshold=0.5, classes=classes)
        assert wanted in set(found.names) <= expected
    merged = asking.detect(jpeg, score_threshold=0.5, iou_threshold=0.1, agnostic_nms=True)
    apart = asking.detect(jpeg, score_threshold=0.5, iou_threshold=0.1)
    assert 0 < len(merged) < len(apart)
    with pytest.raises(ArgumentError, match="unknown class 'lion'"):
        asking.reads(jpeg, classes=["lion"])


def test_all_classes_are_known_where_nothing_is_found(asking, detector, jpeg):
    result = asking.detect(jpeg, score_threshold=1.0)
    assert (len(result), result.class_names) == (0, detector.config.class_names)


def test_the_example_of_the_readme_runs(url, jpeg, tmp_path, monkeypatch, capsys):
    blocks = (
        (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").split("```python\n")
    )
    example = next(block for block in blocks if "import Client" in block).split("```")[0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dog.jpg").write_bytes(jpeg)
    exec(example.replace("http://127.0.0.1:8000", url))
    assert capsys.readouterr().out.endswith("] tiny\n")
