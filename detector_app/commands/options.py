"""Options that the commands of the app share."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from detector_app.choices import EVENT_WINDOW_MS, HOST, PORT, PREFIX, SERVED_READS
from spyv4.choices import IOU_THRESHOLD, Precision, RuntimeName
from spyv4.commandline import add_score_threshold, names, reads, share
from spyv4.extras import require_extra

if TYPE_CHECKING:
    from detector_app.settings import Settings


def require_app() -> None:
    """Raise `RuntimeUnavailableError` unless the `app` extra is installed."""
    require_extra("app", "the live view and the server")


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Options of a command that serves."""
    parser.add_argument("--host", help=f"address to listen on (default: {HOST})")
    parser.add_argument("--port", type=int, help=f"port to listen on (default: {PORT})")
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
        "--max-reads",
        type=int,
        metavar="N",
        help=f"most reads a client may ask for (default: {SERVED_READS})",
    )


def add_event_window(add: Callable[..., Any]) -> None:
    """The option of commands that take recordings of event cameras, by `add_argument`."""
    add(
        "--event-window-ms",
        type=float,
        metavar="MS",
        help=f"of a recording of an event camera: length of a frame ({EVENT_WINDOW_MS:g})",
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options of a command that choose the model and how it looks."""
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings in TOML; options and {PREFIX}... go before it"
    )
    parser.add_argument("--weights", metavar="NAME|FILE", help="model; the shipped one otherwise")
    parser.add_argument(
        "--runtime", choices=get_args(RuntimeName), help="how the network is run (default: auto)"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="default: auto")
    parser.add_argument("--precision", choices=get_args(Precision), help="torch (default: auto)")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="compile the network first, or never (default: beside the work, for what goes on)",
    )
    parser.add_argument(
        "--retune",
        action="store_true",
        default=None,
        help="measure anew which way of running is the fastest here",
    )
    parser.add_argument(
        "--reads",
        type=reads,
        metavar="N|auto",
        help="looks at each picture, 1..256; auto: until two successive ones agree",
    )
    add_score_threshold(parser)
    parser.add_argument(
        "--iou-threshold",
        type=share,
        metavar="I",
        help=f"boxes of a class that overlap more are one, 0..1 ({IOU_THRESHOLD})",
    )
    parser.add_argument(
        "--agnostic-nms", action="store_true", default=None, help="boxes of different classes, too"
    )
    parser.add_argument("--classes", type=names, metavar="A,B", help="only these classes (all)")


def settings_of(arguments: argparse.Namespace, **usual: Any) -> "Settings":
    """With the key from its file, where one is named; `usual` is what nobody said."""
    from detector_app.settings import load_settings

    values = vars(arguments)
    if arguments.api_key_file is not None:
        values["api_key"] = arguments.api_key_file.read_text(encoding="utf-8").strip()
    return load_settings(values, **usual)
