"""Entry points of the console scripts that need the packages of the `app` extra."""

import importlib
import sys

from spyv4.errors import RuntimeUnavailableError
from spyv4.extras import require_extra


def webcam_command() -> int:
    """`spyv4-webcam`."""
    return _run("webcam")


def serve_command() -> int:
    """`spyv4-serve`."""
    return _run("serve")


def _run(name: str) -> int:
    try:
        require_extra("app", "the live view and the server")
    except RuntimeUnavailableError as error:
        sys.stderr.write(f"spyv4-{name}: error: {error}\n")
        return 2
    code: int = getattr(importlib.import_module("detector_app.cli"), f"{name}_command")()
    return code
