"""What all console scripts share: exit codes, one-line errors, and `--debug`."""

import argparse
import logging
import sys
from collections.abc import Callable

from spyv4.errors import SPYv4Error

EXIT_OK, EXIT_FAILURE, EXIT_USAGE = 0, 1, 2
_WRONG_PATH = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


def build_parser(command: str, description: str, example: str) -> argparse.ArgumentParser:
    """A parser with the conventions of all commands: an example in the help, and `--debug`."""
    parser = argparse.ArgumentParser(
        prog=command,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    return parser


def run_command(
    parser: argparse.ArgumentParser,
    action: Callable[[argparse.Namespace], int | None],
    argv: list[str] | None = None,
) -> int:
    """Parse `argv`, run `action`, and turn errors into one line and an exit code.

    Returns:
        0 on success, 2 for input the user can put right (a path that is not there, say), 1 for a
        failure while running (a full disk), 130 on Ctrl-C. With `--debug` errors are raised with
        their traceback instead.
    """
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    for package in ("spyv4", "training", "detector_app"):
        logging.getLogger(package).setLevel(logging.DEBUG if arguments.debug else logging.INFO)
    try:
        return action(arguments) or EXIT_OK
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped", file=sys.stderr)
        return 130
    except (SPYv4Error, OSError) as error:
        if arguments.debug:
            raise
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        users = isinstance(error, (SPYv4Error, *_WRONG_PATH))
        return int(getattr(error, "exit_code", EXIT_USAGE if users else EXIT_FAILURE))
