"""The commands `spyv4-webcam` and `spyv4-serve`."""

import argparse
import errno
import logging
import socket
import sys
import webbrowser
from pathlib import Path
from typing import Any

import cv2

from detector_app.http.app import create_app
from detector_app.http.connections import Server, raise_open_files, server_config
from detector_app.logs import log_json
from detector_app.record import recording
from detector_app.settings import Settings, add_model_options, load_settings
from detector_app.stream.hub import Hub
from detector_app.stream.sources import quieten
from detector_app.window import has_gui, print_lines, watch
from spyv4.commandline import EXIT_OK, build_parser, exit_code, run_command
from spyv4.errors import ArgumentError, SPYv4Error

logger = logging.getLogger(__name__)


def _add_server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: 8000)")
    parser.add_argument(
        "--allowed-host",
        action="append",
        metavar="NAME",
        help="another name under which browsers may reach the server; may be repeated; * for any",
    )
    parser.add_argument(
        "--api-key-file", type=Path, metavar="FILE", help="holds a key that all clients must send"
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        default=None,
        help="listen on an address that others reach without a key",
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), help="of a line in the log (default: text)"
    )
    parser.add_argument(
        "--max-reads", type=int, metavar="N", help="most reads a client may ask for (default: 32)"
    )


def serve_parser() -> argparse.ArgumentParser:
    """The options of `spyv4-serve`."""
    parser = build_parser(
        "spyv4-serve",
        "Serve POST /detect, the live page, and the API described at /docs.",
        "spyv4-serve --source demo --port 8000",
    )
    parser.add_argument(
        "--source", metavar="SOURCE", help="camera number, file, folder, rtsp://..., demo or none"
    )
    _add_server_options(parser)
    add_model_options(parser)
    return parser


def serve_command(argv: list[str] | None = None) -> int:
    """`spyv4-serve`: the HTTP server."""
    return run_command(serve_parser(), lambda arguments: _serve(_settings(arguments)), argv)


def webcam_command(argv: list[str] | None = None) -> int:
    """`spyv4-webcam`: the live view."""
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
    _add_server_options(parser)
    add_model_options(parser)
    return run_command(parser, _webcam, argv)


def _settings(arguments: argparse.Namespace, **usual: Any) -> Settings:
    """With the key from its file, where one is named; `usual` is what nobody said."""
    values = vars(arguments)
    if arguments.api_key_file is not None:
        values["api_key"] = arguments.api_key_file.read_text(encoding="utf-8").strip()
    return load_settings(values, **usual)


def _webcam(arguments: argparse.Namespace) -> int:
    quieten()
    settings = _settings(arguments, source="0")
    blind = arguments.view == "none"
    if arguments.view == "browser" or not (blind or has_gui()):
        reason = "OpenCV cannot open a window here (no display, or a headless build)"
        if arguments.view == "window":
            raise ArgumentError(f"{reason}; use --view browser")
        if arguments.view == "auto":
            print(f"{reason}; look with a browser instead.")
        return _serve(settings, open_browser=arguments.open, record=arguments.record, live=True)
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


def _serve(
    settings: Settings,
    *,
    open_browser: bool = False,
    record: Path | None = None,
    live: bool = False,
) -> int:
    """Run the server until it is interrupted.

    Args:
        settings: what to serve.
        open_browser: open the page.
        record: file for the source with its boxes.
        live: fail where the source cannot be opened, instead of serving without it.
    """
    if settings.log_format == "text":
        return _run(settings, open_browser, record, live=live)
    log_json()
    try:
        return _run(settings, open_browser, record, live=live)
    except (SPYv4Error, OSError) as error:  # who reads the log as JSON reads this, too
        logger.error("%s", error)  # noqa: TRY400 - one that is expected has no traceback
        return exit_code(error)


def _run(settings: Settings, open_browser: bool, record: Path | None, *, live: bool) -> int:
    settings.require_guard()
    quieten()
    with listen(settings.host, settings.port) as listener:
        source = settings.open_source()
        if live and source is not None:
            source.open()
            source.close()
        detector = settings.load_detector()
        app = create_app(settings, detector)
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        url = f"http://{host}:{listener.getsockname()[1]}"
        config = server_config(app, raise_open_files())
        opened = url if settings.api_key is None else f"{url}/?key=KEY, once with its key"
        print(f"SPYv4 is at {opened} (API: {url}/docs). Ctrl-C ends it.", flush=True)
        if open_browser:
            webbrowser.open(url)
        with recording(app.state.hub, settings.read_options(detector.config), record):
            Server(config).run(sockets=[listener])
    return EXIT_OK


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a taken port is known before the model is loaded.

    Raises:
        ArgumentError: where the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = (error.strerror or "unknown reason").lower()
        taken = error.errno == errno.EADDRINUSE
        advice = "end the other server or choose another --port" if taken else "check --host"
        raise ArgumentError(f"cannot listen on {host} port {port}: {reason}; {advice}") from None
    return listener
