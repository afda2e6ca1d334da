"""The commands `spyv4-detect`, `spyv4-webcam` and `spyv4-serve`."""

import argparse
import dataclasses
import errno
import json
import socket
import sys
import webbrowser
from pathlib import Path
from typing import Any, get_args

import cv2
import uvicorn

from detector_app.annotate import draw_boxes
from detector_app.connections import raise_open_files, server_config
from detector_app.pipeline import Pipeline
from detector_app.server import create_app, load_detector
from detector_app.settings import Settings, load_settings
from detector_app.sources import IMAGE_SUFFIXES
from detector_app.window import has_gui, watch
from spyv4.commandline import (
    EXIT_OK,
    EXIT_USAGE,
    add_score_threshold,
    build_parser,
    run_command,
    share,
)
from spyv4.config import MAX_READS
from spyv4.detector import RuntimeName
from spyv4.errors import ArgumentError, ImageError
from spyv4.options import ReadOptions
from spyv4.preprocess import read_image
from spyv4.runtime.torch_runtime import Precision


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="NAME|FILE", help="model; the shipped one otherwise")
    parser.add_argument(
        "--runtime", choices=get_args(RuntimeName), help="how the network is run (default: auto)"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="default: auto")
    parser.add_argument("--precision", choices=get_args(Precision), help="torch (default: auto)")
    parser.add_argument(
        "--compile", action="store_true", default=None, help="compile the network first (torch)"
    )
    parser.add_argument("--reads", type=int, metavar="N", help="looks at each picture, 1..256")
    add_score_threshold(parser)


def _add_start_options(parser: argparse.ArgumentParser) -> None:
    """Quirks of the authors' code."""
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
        "--max-reads", type=int, metavar="N", help="most reads a client may ask for (default: 32)"
    )


def _settings(arguments: argparse.Namespace, **more: Any) -> Settings:
    names = [field.name for field in dataclasses.fields(Settings)]
    values = {name: getattr(arguments, name, None) for name in names}
    if values["allowed_host"] is not None:
        values["allowed_host"] = tuple(values["allowed_host"])
    return load_settings(values | more)


# --- spyv4-detect ---------------------------------------------------------------------------


def detect_command(argv: list[str] | None = None) -> int:
    """`spyv4-detect`: find things in pictures."""
    parser = build_parser(
        "spyv4-detect",
        "Find things in pictures; write annotated copies and JSON.",
        "spyv4-detect photos/ holiday.jpg --output found --json found/boxes.json",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="pictures or folders")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for annotated copies (default: detected)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all boxes to FILE")
    parser.add_argument(
        "--iou-threshold",
        type=share,
        default=ReadOptions().iou_threshold,
        metavar="I",
        help="boxes of a class that overlap more are one, 0..1 (%(default)s)",
    )
    _add_model_options(parser)
    return run_command(parser, _detect, argv)


def _detect(arguments: argparse.Namespace) -> int:
    pictures, problems = _pictures(arguments.paths)
    output = arguments.output or Path("detected")
    targets = _targets(pictures, output)
    if arguments.json is not None and arguments.json.resolve() in {p.resolve() for p in pictures}:
        raise ArgumentError(f"--json {arguments.json} would overwrite a picture; name another file")
    settings = _settings(arguments, max_reads=MAX_READS)
    detector = load_detector(settings)
    output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for picture, target in zip(pictures, targets, strict=True):
        try:
            image = read_image(picture)
        except (ImageError, OSError) as error:
            problems.append(str(error))
            continue
        result = detector.detect(
            image,
            reads=settings.reads,
            score_threshold=settings.score_threshold,
            iou_threshold=arguments.iou_threshold,
        )
        found[str(picture)] = result.to_list()
        _write_picture(target, draw_boxes(image, result))
        summary = ", ".join(
            f"{n} {s:.2f}" for n, s in zip(result.names, result.scores, strict=True)
        )
        print(f"{picture} -> {target}: {summary or 'nothing'}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for problem in problems:
        print(f"spyv4-detect: error: {problem}", file=sys.stderr)
    return EXIT_USAGE if problems else EXIT_OK


def _pictures(paths: list[Path]) -> tuple[list[Path], list[str]]:
    """The pictures that `paths` name, folders opened, and what is wrong with the others."""
    pictures: list[Path] = []
    problems: list[str] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            pictures += inside
            if not inside:
                problems.append(f"{path} holds no pictures")
        elif path.exists():
            pictures.append(path)
        else:
            problems.append(f"{path} does not exist; check the name")
    return list(dict.fromkeys(pictures)), problems


def _targets(pictures: list[Path], output: Path) -> list[Path]:
    """Where the annotated copies go: no two in one place, and none over an input."""
    inputs = {picture.resolve() for picture in pictures}
    targets: list[Path] = []
    for picture in pictures:
        target, number = output / f"{picture.stem}.png", 1
        while target in targets or target.resolve() in inputs:
            number += 1
            target = output / f"{picture.stem}-{number}.png"
        targets.append(target)
    return targets


def _write_picture(path: Path, image: Any) -> None:
    _, data = cv2.imencode(path.suffix, image)
    path.write_bytes(data.tobytes())


# --- spyv4-serve and spyv4-webcam -----------------------------------------------------------


def serve_command(argv: list[str] | None = None) -> int:
    """`spyv4-serve`: the HTTP server."""
    parser = build_parser(
        "spyv4-serve",
        "Serve POST /detect, the live page, and the API described at /docs.",
        "spyv4-serve --source demo --port 8000",
    )
    parser.add_argument(
        "--source", metavar="SOURCE", help="camera number, file, folder, rtsp://..., demo or none"
    )
    _add_server_options(parser)
    _add_model_options(parser)
    return run_command(parser, lambda arguments: _serve(_settings(arguments)), argv)


def webcam_command(argv: list[str] | None = None) -> int:
    """`spyv4-webcam`: the live view."""
    parser = build_parser(
        "spyv4-webcam",
        "Watch a camera, clip, folder, stream or the demo with boxes and spikes.",
        "spyv4-webcam --source demo --reads 8",
    )
    parser.add_argument(
        "--source",
        default="0",
        metavar="SOURCE",
        help="camera number, file, folder, pattern, rtsp://... or demo (default: 0)",
    )
    parser.add_argument(
        "--view",
        choices=("auto", "window", "browser"),
        default="auto",
        help="auto: a window where OpenCV can open one, the browser otherwise",
    )
    parser.add_argument("--open", action="store_true", help="also open the browser")
    _add_start_options(parser)
    _add_server_options(parser)
    _add_model_options(parser)
    return run_command(parser, _webcam, argv)


def _webcam(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if arguments.view == "browser" or not has_gui():
        reason = "OpenCV cannot open a window here (no display, or a headless build)"
        if arguments.view == "window":
            raise ArgumentError(f"{reason}; use --view browser")
        if arguments.view == "auto":
            print(f"{reason}; look with a browser instead.")
        return _serve(settings, open_browser=arguments.open, must_open=True)
    source = settings.open_source(loop=False)
    if source is None:
        raise ArgumentError("there is nothing to watch; name a --source other than none")
    detector = load_detector(settings)
    pipeline = Pipeline(detector, source, settings.read_options(detector.config))
    try:
        watch(pipeline)
    finally:
        pipeline.stop()
        cv2.destroyAllWindows()
    counts = pipeline.capture.counts
    print(f"{counts.captured} frames: {counts.consumed} shown, {counts.dropped} skipped")
    return EXIT_OK


def _serve(settings: Settings, *, open_browser: bool = False, must_open: bool = False) -> int:
    """Run the server until it is interrupted.

    Args:
        settings: what to serve.
        open_browser: open the page.
        must_open: fail where the source cannot be opened, instead of serving without it.
    """
    with listen(settings.host, settings.port) as listener:
        source = settings.open_source()
        if must_open and source is not None:
            source.open()
            source.close()
        app = create_app(settings, load_detector(settings))
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        url = f"http://{host}:{listener.getsockname()[1]}"
        config = server_config(app, raise_open_files())
        print(f"SPYv4 is at {url} (API: {url}/docs). Ctrl-C ends it.", flush=True)
        if open_browser:
            webbrowser.open(url)
        uvicorn.Server(config).run(sockets=[listener])
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
