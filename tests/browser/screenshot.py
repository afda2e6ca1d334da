"""Save a picture of the live page: `python -m tests.browser.screenshot docs/page.png`."""

import argparse
from pathlib import Path

from detector_app.http.app import create_app
from detector_app.settings import Settings
from tests.browser.chromium import launched
from tests.unit.detector_app.serving import serving

# True once a frame with a box was read to its end, at which the page then stands still.
FOUND = """() => {
  const { view, history } = window.spyv4 ?? {};
  const found = view && view.done && view.newest.detections.length > 0
    && history.columns.length > 200;
  if (found) window.spyv4.setPaused(true);
  return found;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--weights")
    parser.add_argument("--reads", type=int, default=8)
    parser.add_argument("--address", default="/", help="page to open")
    parser.add_argument("--source", default="demo")
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--theme", choices=("light", "dark"), default="dark")
    parser.add_argument("--tour", action="store_true", help="as a first visitor sees it")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for a box")
    arguments = parser.parse_args()
    settings = Settings(weights=arguments.weights, reads=arguments.reads, source=arguments.source)
    with serving(create_app(settings, settings.load_detector())) as url, launched() as browser:
        size = {"width": arguments.width, "height": 900}
        page = browser.new_page(viewport=size, color_scheme=arguments.theme)
        if not arguments.tour:
            page.add_init_script("localStorage.setItem('spyv4-tour-seen', 'yes')")
        page.goto(url + arguments.address)
        try:
            page.wait_for_function(FOUND, timeout=1000 * arguments.timeout)
        except Exception as error:  # noqa: BLE001 - the picture is taken all the same
            print(f"nothing was found: {str(error).splitlines()[0]}")  # noqa: T201
        page.wait_for_timeout(500)
        page.screenshot(path=arguments.path, full_page=True)


if __name__ == "__main__":
    main()
