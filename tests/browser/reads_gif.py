"""Boxes that change from read to read: `python -m tests.browser.reads_gif PICTURE FILE.gif`."""

import argparse
import io
from pathlib import Path

from PIL import Image

from detector_app.http.app import create_app
from detector_app.settings import Settings
from tests.browser.chromium import launched, set_slider
from tests.unit.detector_app.serving import serving

SHOWN_MS = 700


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("path", type=Path)
    parser.add_argument("--reads", type=int, default=8)
    parser.add_argument("--width", type=int, default=640)
    arguments = parser.parse_args()
    settings = Settings(reads=arguments.reads, source="demo")
    frames = []
    with serving(create_app(settings, settings.load_detector())) as url, launched() as browser:
        page = browser.new_page(viewport={"width": 760, "height": 900}, color_scheme="dark")
        page.add_init_script("localStorage.setItem('spyv4-tour-seen', 'yes')")
        page.goto(url)
        page.wait_for_selector("#found li")
        page.set_input_files("#picture", str(arguments.picture))
        page.wait_for_function("() => spyv4.own.kind === 'picture' && spyv4.view.done")
        for read in range(1, arguments.reads + 1):
            set_slider(page, "scrubber", read)
            page.wait_for_timeout(200)
            shot = Image.open(io.BytesIO(page.locator(".stage").screenshot())).convert("RGB")
            height = round(shot.height * arguments.width / shot.width)
            frames.append(shot.resize((arguments.width, height)).quantize(128))
    shown = [SHOWN_MS] * (len(frames) - 1) + [3 * SHOWN_MS]
    frames[0].save(arguments.path, save_all=True, append_images=frames[1:], duration=shown, loop=0)


if __name__ == "__main__":
    main()
