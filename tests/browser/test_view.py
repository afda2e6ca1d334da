"""What the page shows of the reads: scrubber, scores, rasters, heat, energy, files."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector_app.stream.demo import DemoSource
from spyv4.energy import compare
from spyv4.preprocess import read_image
from tests.browser.chromium import set_slider
from tests.browser.test_page import CHECKSUM, OWN_PICTURE_DONE, wait_for_change

pytestmark = pytest.mark.browser


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "cat.png"
    cv2.imwrite(str(path), DemoSource().frame(200))
    return path


@pytest.fixture
def still(page, picture):
    """A page that shows a picture of the visitor, looked at six times."""
    page.wait_for_selector("#found li")
    set_slider(page, "reads", 6)
    page.set_input_files("#picture", str(picture))
    page.wait_for_function(OWN_PICTURE_DONE)
    page.wait_for_function("() => spyv4.view.read?.reads === 6 && spyv4.view.done")
    return page


SHOWS_READ = "(read) => document.getElementById('read').textContent === String(read)"


def saved(page, button, count):
    """The files that a click saves, by the suffix of their names."""
    downloads = []
    page.on("download", lambda one: downloads.append(one))  # noqa: PLW0108 - it is looked into
    page.click(button)
    while len(downloads) < count:
        page.wait_for_timeout(50)
    return {one.suggested_filename.rpartition(".")[2]: Path(one.path()) for one in downloads}


def test_the_scrubber_shows_every_read(still):
    boxes = "() => JSON.stringify(spyv4.view.read.detections)"
    seen = {}
    for read in (1, 3, 6, 2):
        set_slider(still, "scrubber", read)
        still.wait_for_function(
            "(read) => document.getElementById('read').textContent == read", arg=read
        )
        seen[read] = (still.evaluate(boxes), still.evaluate(CHECKSUM, "video"))
    assert len({boxes for boxes, _ in seen.values()}) == 4
    assert len({pixels for _, pixels in seen.values()}) == 4
    assert still.inner_text("#state") == "paused"
    assert still.get_attribute("#pause", "aria-pressed") == "true"


def test_one_read_at_a_time_and_on_to_the_next_frame(page):
    page.wait_for_function("() => spyv4.view.done")
    page.keyboard.press("k")
    page.wait_for_selector("#state >> text=paused")
    frozen = page.evaluate(CHECKSUM, "video")
    page.wait_for_timeout(400)
    assert page.evaluate(CHECKSUM, "video") == frozen
    last = int(page.inner_text("#read"))
    for read in range(last - 1, 0, -1):
        page.keyboard.press(",")
        page.wait_for_function(
            "(read) => document.getElementById('read').textContent == read", arg=read
        )
    for _ in range(last - 1):
        page.click("#forward")
    frame = page.evaluate("() => spyv4.frame")
    page.click("#forward")  # beyond the last: another frame, at its first read
    page.wait_for_function("(frame) => spyv4.frame > frame && spyv4.view.done", arg=frame)
    page.wait_for_function("() => document.getElementById('read').textContent === '1'")
    page.wait_for_timeout(300)
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    page.click("#pause")
    wait_for_change(page, "video")


def test_objects_are_followed_from_read_to_read(page):
    """Two cats that stay, one that is taken back and one that comes, and a dog in place of it."""
    lines = page.evaluate(
        """async () => {
          const {objects} = await import("/static/js/trace.js");
          const at = (class_id, x, score) => ({class_id, score, box: [x, 0, x + 10, 10]});
          return objects([
            {read: 1, detections: [at(7, 0, 0.9), at(7, 100, 0.8), at(7, 200, 0.7)]},
            {read: 2, detections: [at(7, 1, 0.6), at(7, 101, 0.85), at(11, 200, 0.5)]},
            {read: 3, detections: [at(7, 2, 0.5), at(7, 300, 0.4), at(7, 102, 0.8)]},
          ]).map(({found, points}) => [found.class_id, points]);
        }"""
    )
    assert lines == [
        [7, [[1, 0.9], [2, 0.6], [3, 0.5]]],
        [7, [[1, 0.8], [2, 0.85], [3, 0.8]]],
        [7, [[1, 0.7]]],
        [11, [[2, 0.5]]],
        [7, [[3, 0.4]]],
    ]


def test_scores_are_drawn_against_reads(still):
    before = still.evaluate(CHECKSUM, "trace")
    set_slider(still, "scrubber", 2)
    still.wait_for_function(f"(before) => ({CHECKSUM})('trace') !== before", arg=before)


def test_a_raster_names_neuron_and_time(page):
    page.wait_for_function("() => spyv4.history.columns.length > 20")
    page.keyboard.press("k")
    box = page.locator("#shallow").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 40)
    page.wait_for_function("() => document.getElementById('shallow').title !== ''")
    title = page.get_attribute("#shallow", "title")
    assert re.fullmatch(
        r"neuron \d+ of the \d+ drawn from stem2: (a spike|silent) at read \d of picture \d+, now",
        title,
    )


def test_heat_shows_where_a_layer_fires(still):
    still.wait_for_timeout(200)
    plain = still.evaluate(CHECKSUM, "video")
    still.select_option("#heat", "csp1_d")
    still.wait_for_function("() => spyv4.view.done && spyv4.view.read?.heat !== null")
    heat = still.evaluate("() => spyv4.view.read.heat")
    assert (heat["layer"], heat["rows"], heat["columns"]) == ("csp1_d", 4, 4)
    still.wait_for_function(f"(plain) => ({CHECKSUM})('video') !== plain", arg=plain)
    still.select_option("#heat", "")
    still.wait_for_function("() => spyv4.view.done && spyv4.view.read.heat === null")
    still.wait_for_function(f"(plain) => ({CHECKSUM})('video') === plain", arg=plain)


def test_energy_is_that_of_the_evaluation(still, app, picture):
    detector = app.state.hub.detector
    rates = []
    for read in detector.read_batch([read_image(picture)], detector.options(6, activity=True)):
        pair = (read.activity.firing_rates, read.activity.message_rates)
        rates.append([rate[0].double().numpy() for rate in pair])
    firing, messages = np.stack(rates).swapaxes(0, 1)
    both = compare(detector.config, detector.image_size, firing, messages)
    assert still.inner_text("#energy-mj") == f"{both.network.energy_mj:#.3g} mJ"
    assert still.inner_text("#twin-mj") == f"{both.twin.energy_mj:#.3g} mJ"
    share = both.network.energy_mj / both.twin.energy_mj
    assert f"takes {share:.1f} \u00d7 as much as" in still.inner_text("#energy-verdict")
    still.click(".energy summary")
    assert "0.9 pJ" in still.inner_text("#formula")
    assert "Horowitz" in still.inner_text("#formula")


def test_a_video_of_the_visitor(page, tmp_path):
    path = tmp_path / "clip.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 10, (160, 90))
    for index in range(20):
        writer.write(np.full((90, 160, 3), 10 * index, np.uint8))
    writer.release()
    page.wait_for_selector("#found li")
    page.set_input_files("#clip", str(path))
    page.wait_for_function("() => spyv4.own.kind === 'video' && spyv4.view.read?.frame > 3")
    assert page.evaluate("() => [spyv4.view.read.width, spyv4.view.read.height]") == [160, 90]
    wait_for_change(page, "video")
    page.get_by_text("demo", exact=True).click()
    page.wait_for_function("() => spyv4.view.read !== null && !spyv4.view.read.own")


def test_a_snapshot_and_a_recording(page):
    page.wait_for_selector("#found li:not(.none)")
    shot = read_image(saved(page, "#snapshot", 1)["png"])
    assert shot.shape[1] / shot.shape[0] == pytest.approx(4 / 3, rel=0.01)
    page.click("#record")
    page.wait_for_timeout(1500)
    clips = saved(page, "#record", 2)
    lines = [json.loads(line) for line in clips["jsonl"].read_text().splitlines()]
    assert len(lines) > 3
    assert {"detections", "read", "firing_rates", "operations"} <= set(lines[0])
    assert "rasters" not in lines[0]
    assert clips["webm"].read_bytes()[:4] == b"\x1aE\xdf\xa3"
    assert cv2.VideoCapture(str(clips["webm"])).read()[0]
