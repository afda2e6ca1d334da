"""The live page in a real Chromium; any console error fails."""

import cv2
import pytest

from detector_app.stream.demo import DemoSource
from tests.browser.chromium import set_slider

pytestmark = pytest.mark.browser

# Sum of a canvas's pixels, weighted by place: another picture gives another number.
CHECKSUM = """(id) => {
  const canvas = document.getElementById(id);
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]) % 1000003;
  return sum;
}"""
LIT = """(id) => {
  const canvas = document.getElementById(id);
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return data.some((value) => value > 0);
}"""

OWN_PICTURE_DONE = """() => {
  const {own, view} = spyv4;
  return own.kind === "picture" && !own.busy && view.done;
}"""


def wait_for_change(page, canvas):
    before = page.evaluate(CHECKSUM, canvas)
    page.wait_for_function(f"([id, before]) => ({CHECKSUM})(id) !== before", arg=[canvas, before])


def test_video_boxes_and_both_rasters_move(page):
    page.wait_for_selector("#found li:not(.none)")
    page.wait_for_selector("#state >> text=running")
    for canvas in ("video", "shallow", "deep"):
        page.wait_for_function(LIT, arg=canvas)
        wait_for_change(page, canvas)
        wait_for_change(page, canvas)
    assert page.locator("#rates .rate").count() == 19
    page.wait_for_function("() => Number(document.getElementById('fps').textContent) > 0")
    page.wait_for_function("() => Number(document.getElementById('p95').textContent) > 0")


def test_boxes_are_drawn_onto_the_video(page):
    page.wait_for_selector("#found li:not(.none)")
    colours = page.evaluate("() => spyv4.view.hello.classes.map((one) => one.colour)")
    assert len(set(colours)) == 20
    drawn = """() => {
      const {view, stage} = spyv4;
      if (!view.done) return false;
      stage.draw();
      const {canvas} = stage;
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const number = (found) => parseInt(view.colour(found.class_id).slice(1), 16);
      const wanted = new Set(view.read.detections.map(number));
      for (let i = 0; i < data.length; i += 4)
        if (wanted.has((data[i] << 16) | (data[i + 1] << 8) | data[i + 2])) return true;
      return false;
    }"""
    page.wait_for_function(drawn)


def test_the_reads_control_works(page):
    page.wait_for_function("() => document.getElementById('read-total').textContent === '3'")
    set_slider(page, "reads", 7)
    page.wait_for_function("() => document.getElementById('read-total').textContent === '7'")
    seen = page.evaluate(
        """() => new Promise((done) => {
          const seen = new Set();
          const look = () => {
            seen.add(document.getElementById("read").textContent);
            if (seen.size > 3) done([...seen]);
            else requestAnimationFrame(look);
          };
          look();
        })"""
    )
    assert len(seen) > 3
    set_slider(page, "reads", 3)
    page.wait_for_function("() => document.getElementById('read-total').textContent === '3'")


def test_the_threshold_controls_work(page):
    page.wait_for_selector("#found li:not(.none)")
    set_slider(page, "score", 0.95)
    page.wait_for_selector("#found li.none")
    assert page.inner_text("#score-value") == "0.95"
    set_slider(page, "score", 0.5)
    page.wait_for_selector("#found li:not(.none)")


def test_any_layer_can_be_chosen(page, app):
    names = list(app.state.hub.detector.layer_names)
    page.wait_for_selector("#found li")
    for which, name in (("shallow", names[0]), ("deep", names[-1])):
        assert page.locator(f"#{which}-layer option").all_inner_texts() == names
        page.select_option(f"#{which}-layer", name)
        wait_for_change(page, which)
        assert page.inner_text(f".rate.is-{which} span:first-child") == name


def test_a_picture_of_the_visitor(page, tmp_path):
    picture = tmp_path / "cat.jpg"
    cv2.imwrite(str(picture), DemoSource().frame(200)[:, :480])
    page.wait_for_selector("#found li")
    page.set_input_files("#picture", str(picture))
    page.wait_for_function(
        "() => spyv4.own.kind === 'picture' && !spyv4.own.busy && spyv4.view.done"
    )
    assert page.evaluate("() => [spyv4.view.read.width, spyv4.view.read.height]") == [480, 480]
    assert page.get_attribute("#sources [title='a picture…']", "aria-checked") == "true"
    set_slider(page, "reads", 5)
    page.wait_for_function("() => spyv4.view.done && spyv4.view.read.reads === 5")
    set_slider(page, "reads", 3)
    page.get_by_text("demo", exact=True).click()
    page.wait_for_function("() => spyv4.view.read !== null && !spyv4.view.read.own")
    wait_for_change(page, "video")


def test_a_picture_chosen_while_one_of_the_camera_is_looked_at(page, tmp_path):
    picture = tmp_path / "cat.jpg"
    cv2.imwrite(str(picture), DemoSource().frame(200)[:, :480])
    page.wait_for_selector("#found li")
    page.get_by_text("my camera").click()
    page.wait_for_function("() => spyv4.own.kind === 'camera' && spyv4.own.busy")
    page.set_input_files("#picture", str(picture))
    page.wait_for_function(
        "() => spyv4.own.kind === 'picture' && !spyv4.own.busy && spyv4.view.done"
    )
    assert page.evaluate("() => [spyv4.view.read.width, spyv4.view.read.frame]") == [
        480,
        page.evaluate("() => spyv4.own.frame"),
    ]
    assert page.locator("#notice").is_hidden()


def test_a_file_that_is_no_picture(page, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("no picture")
    page.wait_for_selector("#found li")
    page.set_input_files("#picture", str(file))
    page.wait_for_selector("#notice:not([hidden])")
    assert "notes.txt is not a picture" in page.inner_text("#notice")


def test_the_camera_of_the_visitor(page, app):
    page.wait_for_selector("#found li")
    page.get_by_text("my camera").click()
    page.wait_for_function(
        "() => spyv4.own.kind === 'camera' && spyv4.view.read !== null && spyv4.view.read.frame > 3"
    )
    wait_for_change(page, "video")
    wait_for_change(page, "deep")
    assert app.state.hub.viewers == 0
    page.get_by_text("demo", exact=True).click()
    page.wait_for_function("() => spyv4.view.read !== null && !spyv4.view.read.own")


def test_the_description_of_the_api(chromium, url):
    page = chromium.new_page()
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on(
        "request",
        lambda r: problems.append(r.url) if not r.url.startswith((url, "data:")) else None,
    )
    page.goto(url + "/docs")
    page.wait_for_selector("#operations >> text=/detect")
    assert "score_threshold" in page.inner_text("#operations")
    page.close()
    assert problems == []
