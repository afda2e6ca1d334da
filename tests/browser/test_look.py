"""How the live page looks: proportions, narrow screens, and what lies on top."""

import cv2
import numpy as np
import pytest

from detector_app.http.app import create_app
from detector_app.settings import Settings
from tests.browser.chromium import set_slider
from tests.unit.detector_app.lively import lively_detector

pytestmark = pytest.mark.browser

CLIP_SIZE = (432, 768)
VIEWPORTS = ((1440, 900, 1), (1280, 720, 1), (390, 844, 3))

# Width to height of the canvas on the screen, at the first sight of a picture of that size.
PROPORTION = """([width, height]) => {
  const {canvas} = spyv4.stage;
  const {picture} = spyv4.view;
  const drawn = picture && picture.width === width && picture.height === height
    && Math.abs(canvas.width / canvas.height / (width / height) - 1) < 0.01;
  if (!drawn) return null;
  const shown = canvas.getBoundingClientRect();
  const {left, right, width: across, height: down} = shown;
  return {ratio: across / down, height: down, left, right};
}"""

# Draws `found` onto a grey picture; hands back the pixels of the label and of the left edge of a
# box whose corner is (100, 100).
DRAW = """async ({found, ghosts, read}) => {
  const {view, stage, connection} = spyv4;
  while (!view.newest) await new Promise(requestAnimationFrame);
  connection.socket.onmessage = null;
  const grey = new OffscreenCanvas(400, 300);
  const context = grey.getContext("2d");
  context.fillStyle = "#555";
  context.fillRect(0, 0, 400, 300);
  const picture = await createImageBitmap(grey);
  const size = {width: 400, height: 300, heat: null};
  const result = (detections, read) => ({...view.newest, ...size, read, reads: 4, detections});
  const [old, now] = [result(ghosts, 4), result(found, read)];
  view.show(picture);
  view.before = ghosts.length ? old : null;
  view.reads = [now];
  stage.draw();
  const {canvas} = stage;
  const zoom = canvas.width / 400;
  const unit = canvas.height / canvas.clientHeight;
  const pixels = (...place) =>
    [...canvas.getContext("2d").getImageData(...place.map(Math.round)).data];
  return {
    label: pixels(100 * zoom + 4 * unit, 100 * zoom - 16 * unit, 40 * unit, 12 * unit),
    edge: pixels(100 * zoom, 150 * zoom, 1, 50 * zoom),
  };
}"""
CAT = {"class": "cat", "class_id": 7, "score": 0.9, "box": [100, 100, 300, 250]}
DOG = {"class": "diningtable", "class_id": 10, "score": 0.4, "box": [100, 100, 300, 250]}
COW = {"class": "cow", "class_id": 9, "score": 0.3, "box": [90, 95, 350, 280]}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / f"a-clip-with-a-{'very-' * 12}long-name.mp4"
    height, width = CLIP_SIZE
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (width, height))
    assert writer.isOpened()
    for index in range(20):
        frame = np.full((height, width, 3), 60, np.uint8)
        cv2.circle(frame, (20 + 10 * index, 90), 40, (200, 90, 40), -1)
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture(scope="module")
def app(clip):
    return create_app(Settings(reads=3, source=str(clip)), lively_detector())


def shown(page, height, width):
    return page.wait_for_function(PROPORTION, arg=[width, height]).json_value()


@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_pictures_keep_their_proportions(open_page, tmp_path, viewport):
    page = open_page(*viewport)
    assert shown(page, *CLIP_SIZE)["ratio"] == pytest.approx(16 / 9, rel=0.01)
    for height, width in ((320, 180), (240, 320), (256, 256), (100, 400)):
        picture = tmp_path / f"{width}x{height}.png"
        cv2.imwrite(str(picture), np.full((height, width, 3), 90, np.uint8))
        page.set_input_files("#picture", str(picture))
        seen = shown(page, height, width)
        assert seen["ratio"] == pytest.approx(width / height, rel=0.01)
        assert 0 <= seen["left"] < seen["right"] <= viewport[0]
        assert seen["height"] < 0.9 * viewport[1]
    page.click("#sources button:first-child")
    assert shown(page, *CLIP_SIZE)["ratio"] == pytest.approx(16 / 9, rel=0.01)


def test_proportions_outlast_a_resize(open_page):
    page = open_page(390, 844)
    for width, height in ((1440, 900), (844, 390), (1000, 400), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function("(width) => innerWidth === width", arg=width)
        seen = shown(page, *CLIP_SIZE)
        assert seen["ratio"] == pytest.approx(16 / 9, rel=0.01)
        assert seen["height"] < 0.9 * height


@pytest.mark.parametrize("viewport", [(390, 844, 3), (360, 740, 3), (320, 568, 2)])
def test_nothing_is_wider_than_a_phone(open_page, viewport):
    page = open_page(*viewport)
    page.wait_for_selector("#found li")
    assert page.evaluate("() => document.scrollingElement.scrollWidth") <= viewport[0]
    edge = "(e) => Math.round(e.getBoundingClientRect().right)"
    inside = page.locator(".controls").evaluate(edge)
    assert inside < viewport[0]
    for part in page.locator("main .card, main button, main select, main input:visible").all():
        assert part.evaluate(edge) <= inside


def test_the_description_of_the_api_fits_a_phone(open_page, url):
    page = open_page(320, 568, 2)
    page.goto(url + "/docs")
    page.wait_for_selector("#operations >> text=/detect")
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.evaluate("() => document.scrollingElement.scrollWidth") <= 320


@pytest.mark.parametrize("width", [1440, 1280, 1000, 390, 320])
def test_no_caption_of_a_tile_is_cut_off(open_page, width):
    page = open_page(width, 800)
    captions = page.locator(".tile span")
    assert captions.count() == 6
    for caption in captions.all():
        assert caption.evaluate("(e) => e.scrollWidth <= e.clientWidth || e.clientWidth === 0")
        assert caption.evaluate("(e) => e.getBoundingClientRect().height < 20"), "it wraps"


@pytest.mark.parametrize("read", [1, 4])
def test_the_highest_score_is_on_top(page, read):
    page.wait_for_selector("#found li")

    def draw(*found, ghosts=()):
        arguments = {"found": list(found), "ghosts": list(ghosts), "read": read}
        return {part: np.array(v) for part, v in page.evaluate(DRAW, arguments).items()}

    bare, alone, crowd = draw(), draw(CAT), draw(CAT, DOG, COW, ghosts=[DOG, COW])
    assert np.abs(alone["label"] - bare["label"]).max() > 50
    np.testing.assert_allclose(crowd["label"], alone["label"], atol=2)
    if read == 4:  # until then lines are translucent
        np.testing.assert_allclose(crowd["edge"], alone["edge"], atol=2)


def set_options(page, **settings):
    """What a slider does, at values that it cannot take."""
    page.evaluate("settings => spyv4.connection.send({ type: 'settings', ...settings })", settings)


def test_sliders_show_any_operating_point(page):
    page.wait_for_selector("#found li")
    set_options(page, score_threshold=0.23, iou_threshold=0.47)
    page.wait_for_function("() => document.getElementById('score-value').textContent === '0.23'")
    assert page.evaluate(
        "() => ['score', 'iou'].map((id) => document.getElementById(id).value)"
    ) == ["0.23", "0.47"]
    assert page.inner_text("#iou-value") == "0.47"
    for slider in ("score", "iou"):
        for value in ("0.01", "0.99"):
            set_slider(page, slider, value)
            shown = f"() => document.getElementById('{slider}-value').textContent === '{value}'"
            page.wait_for_function(shown)  # the page does not know of what `set_options` sent
    page.wait_for_selector("#found li.none >> text=nothing above the score threshold")


def test_a_slider_leaves_the_others_as_they_are(page, app):
    page.wait_for_selector("#found li")
    set_options(page, score_threshold=0.234)
    page.wait_for_function("() => document.getElementById('score').value === '0.23'")
    set_slider(page, "reads", 5)
    page.wait_for_function("() => document.getElementById('read-total').textContent === '5'")
    (stream,) = app.state.hub.streams
    (viewer,) = stream._viewers
    assert (viewer.options.reads, viewer.options.score_threshold) == (5, 0.234)
