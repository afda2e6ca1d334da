"""`spyv4-webcam`: the live view."""

import argparse
import logging
import sys
from pathlib import Path

from detector_app.commands.options import (
    add_event_window,
    add_model_options,
    add_server_options,
    require_app,
    settings_of,
)
from spyv4.commandline import EXIT_OK, build_parser, run_command
from spyv4.errors import ArgumentError


def webcam_command(argv: list[str] | None = None) -> int:
    """The console script."""
    parser = build_parser(
        "spyv4-webcam",
        "Watch a camera, clip, folder, stream or the demo with boxes and spikes.",
        "spyv4-webcam --source demo --reads 8",
    )
    parser.add_argument(
        "--source",
        metavar="SOURCE",
        help="camera number, file, folder, pattern, rtsp://... or demo (default: 0)",
    )
    parser.add_argument(
        "--view",
        choices=("auto", "window", "browser", "none"),
        default="auto",
        help="auto: a window where OpenCV can open one, the browser otherwise; none: a line of "
        "JSON a frame",
    )
    parser.add_argument("--open", action="store_true", help="also open the browser")
    parser.add_argument(
        "--record", type=Path, metavar="FILE.mp4", help="also write the source with its boxes"
    )
    parser.add_argument(
        "--carry-state",
        action="store_true",
        default=None,
        help="start each frame from the state the last one left, with --reads 1 say, as the "
        "authors' webcam loop does",
    )
    parser.add_argument(
        "--start-seed",
        type=int,
        metavar="N",
        help="start from random potentials drawn with this seed, as the authors' code does",
    )
    add_event_window(parser.add_argument)
    add_server_options(parser)
    add_model_options(parser)
    return run_command(parser, _webcam, argv)


def _webcam(arguments: argparse.Namespace) -> int:
    require_app()
    import cv2

    from detector_app.record import recording
    from detector_app.serving import serve
    from detector_app.stream.hub import Hub
    from detector_app.stream.sources import quieten
    from detector_app.window import has_gui, print_lines, watch

    quieten()
    settings = settings_of(arguments, source="0")
    blind = arguments.view == "none"
    if arguments.view == "browser" or not (blind or has_gui()):
        reason = "OpenCV cannot open a window here (no display, or a headless build)"
        if arguments.view == "window":
            raise ArgumentError(f"{reason}; use --view browser")
        if arguments.view == "auto":
            print(f"{reason}; look with a browser instead.")
        return serve(settings, open_browser=arguments.open, record=arguments.record, live=True)
    source = settings.open_source(loop=False)
    if source is None:
        raise ArgumentError("there is nothing to watch; name a --source other than none")
    detector = settings.load_detector()
    # A lost source ends the command, whose one line says it.
    hub, options = (
        Hub(detector, [source], loss_level=logging.DEBUG),
        settings.read_options(detector.config),
    )
    hub.scheduler.start()
    try:
        with recording(hub, options, arguments.record):
            if blind:
                print_lines(hub, options, sys.stdout)
            else:
                watch(hub, options)
    finally:
        hub.stop()
        if not blind:
            cv2.destroyAllWindows()
    counts = hub.counts
    summary = f"{counts.captured} frames: {counts.consumed} shown, {counts.dropped} skipped"
    print(summary, file=sys.stderr if blind else sys.stdout)
    return EXIT_OK
