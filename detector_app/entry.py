"""Entry points of the console scripts, which need the packages of the `app` extra."""

import importlib
import sys

from spyv4.errors import RuntimeUnavailableError
from spyv4.extras import require_extra


def detect_command() -> int:
    """`spyv4-detect`."""
    return _run("spyv4-detect", "detect_command")


def webcam_command() -> int:
    """`spyv4-webcam`."""
    return _run("spyv4-webcam", "webcam_command")


def serve_command() -> int:
    """`spyv4-serve`."""
    return _run("spyv4-serve", "serve_command")


def _run(command: str, name: str) -> int:
    try:
        require_extra("app", "the detector's commands")
    except RuntimeUnavailableError as error:
        sys.stderr.write(f"{command}: error: {error}\n")
        return 2
    code: int = getattr(importlib.import_module("detector_app.cli"), name)()
    return code
