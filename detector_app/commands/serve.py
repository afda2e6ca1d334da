"""`spyv4-serve`: the HTTP server."""

import argparse

from detector_app.commands.options import (
    add_event_window,
    add_model_options,
    add_server_options,
    require_app,
    settings_of,
)
from spyv4.commandline import build_parser, run_command


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
    add_event_window(parser.add_argument)
    add_server_options(parser)
    add_model_options(parser)
    return parser


def serve_command(argv: list[str] | None = None) -> int:
    """The console script."""
    return run_command(serve_parser(), _serve, argv)


def _serve(arguments: argparse.Namespace) -> int:
    require_app()
    from detector_app.serving import serve

    return serve(settings_of(arguments))
