"""What the visitor sets: sliders, boxes, links, keys, theme; and that it outlives the server."""

import pytest

from detector_app.http.app import create_app
from detector_app.settings import Settings
from tests.browser.chromium import set_slider
from tests.browser.test_page import wait_for_change
from tests.unit.detector_app.lively import lively_detector
from tests.unit.detector_app.scripted import wait_until
from tests.unit.detector_app.serving import serving

pytestmark = pytest.mark.browser
FOCUSED = "() => document.activeElement.id || document.activeElement.title"
CLASSES = "() => document.getElementById('classes-value').textContent"


def test_a_link_restores_what_was_set(open_page):
    page = open_page(1440, 900)
    page.wait_for_selector("#found li")
    set_slider(page, "reads", 5)
    set_slider(page, "score", 0.33)
    page.select_option("#deep-layer", "stem1")
    page.select_option("#heat", "p5")
    page.check("#carry")
    page.click("#classes summary")
    page.check("#class-list input[value=cat]")
    page.check("#class-list input[value=dog]")
    page.click("#link")
    address = page.evaluate("() => location.hash")
    other = open_page(1440, 900, address=address)
    other.wait_for_function("() => spyv4.view.read && spyv4.view.read.reads === 5")
    other.wait_for_function("() => document.getElementById('score-value').textContent === '0.33'")
    wait_until(lambda: other.evaluate(CLASSES) == "cat, dog")
    assert other.input_value("#deep-layer") == "stem1"
    assert other.input_value("#heat") == "p5"
    assert other.is_checked("#carry")
    other.wait_for_function("() => spyv4.view.read && spyv4.view.read.heat !== null")


def test_what_the_visitor_just_set_is_newer_than_what_the_server_says(page):
    """However late the server hears of it: a link copied at once has all of it."""
    page.wait_for_selector("#found li")
    page.evaluate("""() => {
        spyv4.late = [];
        spyv4.heard = spyv4.connection.send;
        spyv4.connection.send = (message) => spyv4.late.push(message);
    }""")
    page.click("#classes summary")
    page.check("#class-list input[value=cat]")
    said = page.evaluate("() => spyv4.said = 0")
    page.evaluate(
        "() => spyv4.connection.addEventListener('statistics', () => { spyv4.said += 1; })"
    )
    wait_until(lambda: page.evaluate("() => spyv4.said") > said + 2)
    page.check("#class-list input[value=dog]")
    page.click("#link")
    assert "classes=cat%2Cdog" in page.evaluate("() => location.hash")
    page.evaluate("""() => {
        spyv4.connection.send = spyv4.heard;
        for (const message of spyv4.late) spyv4.connection.send(message);
        spyv4.connection.send({ type: "settings", classes: ["dog"] });
    }""")
    wait_until(lambda: page.evaluate(CLASSES) == "dog")  # the server is believed again


def test_everything_is_reached_by_the_keyboard(page):
    page.wait_for_selector("#found li")
    page.wait_for_function("() => document.querySelectorAll('#sources button').length === 4")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("() => document.activeElement.id || document.activeElement.title")
        )
    wanted = (
        "help theme back pause forward scrubber snapshot record link reads auto score iou carry"
    )
    assert {*wanted.split(), "shallow-layer", "deep-layer", "heat", "demo"} <= reached
    page.focus("#sources [aria-checked=true]")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(FOCUSED) == "my camera"
    assert page.evaluate("() => spyv4.own.kind") is None  # it waits for Enter
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(FOCUSED) == "demo"
    page.focus("#reads")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.getElementById('read-total').textContent === '4'")
    page.focus("#classes summary")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.getElementById('classes').open")


def test_the_tour_of_a_first_visit(open_page):
    page = open_page(390, 844, tour=True)
    page.wait_for_selector("#tour[open]")
    texts = set()
    while page.is_visible("#tour"):
        texts.add(page.inner_text("#tour-text"))
        page.click("#tour-next")
    assert len(texts) == 5
    page.reload()
    page.wait_for_selector("#found li")
    assert not page.is_visible("#tour")
    page.click("#help")
    page.wait_for_selector("#tour[open]")
    page.click("#tour-skip")
    assert not page.is_visible("#tour")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(open_page, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(1440, 900, color_scheme=theme)
    page.wait_for_selector("#found li:not(.none)")
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
    page.click("#pause")
    found = axe.run(page).response["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []


def test_the_theme_is_chosen_and_kept(open_page):
    page = open_page(1440, 900, color_scheme="light")
    page.wait_for_selector("#found li")
    ground = "() => getComputedStyle(document.body).getPropertyValue('background-color')"
    light = page.evaluate(ground)
    page.click("#theme")
    dark = page.evaluate(ground)
    assert light != dark
    page.reload()
    page.wait_for_selector("#found li")
    assert page.evaluate(ground) == dark


def test_the_page_comes_back_with_its_server(chromium):
    """On the same port, with what was set; the view is that of the new server."""
    detector, made = lively_detector(), None
    app = create_app(Settings(reads=3), detector)
    with serving(app) as address:
        port = int(address.rpartition(":")[2])
        made = chromium.new_page()
        made.goto(address)
        made.wait_for_selector("#found li")
        set_slider(made, "reads", 5)
        made.wait_for_function("() => spyv4.view.read?.reads === 5")
    made.wait_for_selector("#state >> text=offline")
    with serving(create_app(Settings(reads=3), detector), port=port):
        made.wait_for_selector("#state >> text=running")
        made.wait_for_function("() => spyv4.view.read?.reads === 5 && spyv4.view.done")
        wait_until(lambda: made.evaluate("() => spyv4.connection.ready"))
        wait_for_change(made, "video")
        made.close()
