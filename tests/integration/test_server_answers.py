"""What `POST /detect` refuses, and how else it answers."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image

from spyv4.preprocess import read_image
from tests.integration.test_server import detail


def encoded(picture, kind):
    """A picture as the bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("query", "form", "closest"),
    [({"read": "4"}, {}, "'reads'"), ({}, {"score": "1"}, ""), ({"conf": "0.3"}, {}, "")],
)
def test_a_parameter_that_there_is_not_is_refused(client, jpeg, query, form, closest):
    sent = {"data": form, "files": {"image": jpeg}} if form else {"content": jpeg}
    refused = client.post("/detect", params=query, **sent)
    assert refused.status_code == 422
    assert f"there is no parameter {next(iter(query | form))!r}" in detail(refused)
    assert closest in detail(refused)
    assert "reads, score_threshold, iou_threshold, per_read" in detail(refused)


def test_a_form_may_be_announced_in_capitals(client, jpeg):
    request = client.build_request("POST", "/detect", files={"image": ("a.jpg", jpeg)})
    kind = request.headers["content-type"]
    request.headers["content-type"] = kind.replace("multipart/form-data", "Multipart/Form-Data")
    assert client.send(request).status_code == 200


def test_a_jpeg_with_a_hole_and_pixels_of_32_bits_are_refused(client):
    photo = encoded(Image.fromarray(skimage.data.chelsea()), "JPEG")
    middle = len(photo) // 2
    hole = photo[:middle] + bytes(len(photo) // 8) + photo[middle + len(photo) // 8 :]
    for mode in ("F", "I"):
        picture = encoded(Image.new(mode, (64, 64), 1), "TIFF")
        refused = client.post("/detect", content=picture)
        assert refused.status_code == 415
        assert "pixels of 32 bits" in detail(refused)
    assert client.post("/detect", content=photo).status_code == 200
    refused = client.post("/detect", content=hole)
    assert refused.status_code == 415
    assert "damaged" in detail(refused)


def test_it_is_ready_while_it_runs_and_counts(app, client, jpeg):
    assert client.get("/api/ready").status_code == 204
    assert client.post("/detect", content=jpeg).status_code == 200
    counted = client.get("/metrics")
    assert counted.headers["content-type"].startswith("text/plain")
    assert f"spyv4_pictures_total {float(app.state.intake.done)}" in counted.text
    figures = {
        line.split(" ")[0]: float(line.split(" ")[1])
        for line in counted.text.splitlines()
        if not line.startswith("#")
    }
    assert figures["spyv4_pictures_total"] >= 1
    assert 0 < figures['spyv4_latency_seconds{of="detect",quantile="0.95"}'] < 10


@pytest.mark.parametrize("accept", ["image/jpeg", "Image/JPEG"])
def test_the_picture_comes_back_with_its_boxes(client, detector, jpeg, accept):
    query = {"score_threshold": 0.55, "reads": 2}
    answer = client.post("/detect", content=jpeg, params=query, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    drawn = read_image(answer.content).astype(int)
    found = detector.detect(jpeg, **query)
    assert len(found) > 0
    plain = read_image(jpeg).astype(int)
    assert 2 * np.abs(drawn - found.plot(jpeg)).mean() < np.abs(drawn - plain).mean()
    assert client.post("/detect", content=jpeg, params=query).json()["detections"]
