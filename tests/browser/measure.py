"""What the page costs and how fast it is: `python -m tests.browser.measure --json FILE`.

Watches the demo with the shipped weights in Chromium: latency from capture until the boxes of the
last read are painted, reads per second beside the bare detector's, and the page's memory.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from detector_app.http.app import create_app
from detector_app.settings import Settings
from detector_app.stream.demo import DemoSource
from tests.browser.chromium import launched
from tests.unit.detector_app.serving import serving


def bare_reads_per_s(detector, reads, seconds):
    """Of the detector alone, with all that the page asks for."""
    image, count, started = DemoSource().frame(0), 0, time.perf_counter()
    shown = {"activity": True, "raster_layers": detector.layer_names}
    while time.perf_counter() - started < seconds:
        count += len(list(detector.reads(image, reads, **shown)))
    return count / (time.perf_counter() - started)


def heap_mib(session):
    """What the page holds, after its garbage was collected."""
    session.send("HeapProfiler.collectGarbage")
    return session.send("Runtime.getHeapUsage")["usedSize"] / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reads", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    settings = Settings(reads=arguments.reads)
    detector = settings.load_detector()
    bare = [bare_reads_per_s(detector, arguments.reads, 10)]
    rows, heaps = [], []
    with serving(create_app(settings, detector)) as url, launched() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script("localStorage.setItem('spyv4-tour-seen', 'yes')")
        page.goto(url)
        page.wait_for_selector("#found li")
        page.evaluate(
            "() => spyv4.connection.addEventListener('statistics', (e) => (window.said = e.detail))"
        )
        session = page.context.new_cdp_session(page)
        page.wait_for_timeout(min(20_000, 100 * arguments.seconds))
        until = time.monotonic() + arguments.seconds
        while time.monotonic() < until:
            heaps.append(heap_mib(session))
            page.wait_for_timeout(5000)
            rows.append(
                page.evaluate(
                    "() => [window.said, Number(document.getElementById('reads-rate').textContent)]"
                )
            )
    bare.append(bare_reads_per_s(detector, arguments.reads, 10))
    said = [row[0] for row in rows]
    fifth = max(1, len(heaps) // 5)
    result = {
        "runtime": detector.runtime.description,
        "reads": arguments.reads,
        "seconds": arguments.seconds,
        "capture_to_page_ms": {
            name: round(float(np.median([one["latency_ms"]["page"][name] for one in said])), 1)
            for name in ("p50", "p95")
        },
        "reads_per_s": round(float(np.median([row[1] for row in rows])), 1),
        "bare_reads_per_s": [round(rate, 1) for rate in bare],
        "heap_mib": {
            "first_fifth": round(float(np.median(heaps[:fifth])), 2),
            "last_fifth": round(float(np.median(heaps[-fifth:])), 2),
            "peak": round(max(heaps), 2),
        },
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
