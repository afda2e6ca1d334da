"""`spyv4-serve`: the HTTP server."""

import argparse

from detector_app.cluster.connecting import require_ray
from detector_app.commands.options import (
    add_event_window,
    add_model_options,
    add_server_options,
    require_app,
    settings_of,
)
from spyv4.commandline import build_parser, run_command
from spyv4.errors import ArgumentError


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
    group = parser.add_argument_group("several processes or machines (extra ray)")
    group.add_argument("--ray", action="store_true", help="replicas behind one address, by Ray")
    group.add_argument(
        "--replicas",
        metavar="N|N-M",
        help="how many, or between what numbers Ray chooses (1); they share the cores out",
    )
    group.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="deploy to a cluster that runs (auto: the one here), or roll out there what changed",
    )
    return parser


def serve_command(argv: list[str] | None = None) -> int:
    """The console script."""
    return run_command(serve_parser(), _serve, argv)


def _serve(arguments: argparse.Namespace) -> int:
    require_app()
    if arguments.ray:
        require_ray()
        from detector_app.cluster.connecting import Cluster
        from detector_app.cluster.serving import serve_on

        return serve_on(
            Cluster(arguments.ray_address), settings_of(arguments), arguments.replicas or "1"
        )
    for name in ("replicas", "ray_address"):
        if getattr(arguments, name) is not None:
            raise ArgumentError(f"--{name.replace('_', '-')} is for --ray; add that")
    from detector_app.serving import serve

    return serve(settings_of(arguments))
