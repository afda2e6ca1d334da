"""What all console scripts share: exit codes, one-line errors, and `--debug`.

Neither this nor a module that only builds parsers imports what computes: `--help` answers at once.
"""

import argparse
import logging
import os
import select
import sys
from collections.abc import Callable

from spyv4.choices import AUTO, Reads
from spyv4.errors import SPYv4Error
from spyv4.threads import use_threads

EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_PIPE = 0, 1, 2, 130, 141
STDOUT = 1
SCORE_THRESHOLD_NAMES = ("--score-threshold", "--score", "--conf")
"""Detectors elsewhere have each of them."""
_WRONG_PATH = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


def build_parser(command: str, description: str, example: str) -> argparse.ArgumentParser:
    """A parser with the conventions of all commands: an example, `--threads` and `--debug`."""
    parser = argparse.ArgumentParser(
        prog=command,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads to compute with (one a core)"
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
        failure while running (a full disk), 130 on Ctrl-C, 141 where nobody reads the output any
        more. With `--debug` errors are raised with
        their traceback instead.
    """
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    for package in ("spyv4", "training", "detector_app"):
        logging.getLogger(package).setLevel(logging.DEBUG if arguments.debug else logging.INFO)
    use_threads(arguments.threads)
    try:
        code = action(arguments) or EXIT_OK
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (SPYv4Error, OSError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return EXIT_PIPE
        if arguments.debug:
            raise
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return exit_code(error)


def _nobody_reads() -> bool:
    """Whether the reader of our output is gone, as `head` is when it has enough.

    If so what is left of the output goes nowhere, or Python would complain of it at the end.
    """
    if not hasattr(select, "poll"):  # Windows, where this is another error
        return False
    asked = select.poll()
    asked.register(STDOUT, 0)
    gone = any(event & select.POLLERR for _, event in asked.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    return gone


def exit_code(error: SPYv4Error | OSError) -> int:
    """What a command that an error ends exits with: 2 where the user can put it right, 1 else."""
    users = isinstance(error, (SPYv4Error, *_WRONG_PATH))
    return int(getattr(error, "exit_code", EXIT_USAGE if users else EXIT_FAILURE))


def positive(text: str) -> int:
    """A whole number of at least 1, as an argument's type."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def reads(text: str) -> Reads:
    """A number of reads, or `auto`, as an argument's type."""
    if text == AUTO:
        return AUTO
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of at least 1, or auto, not {text!r}"
        ) from None


def share(text: str) -> float:
    """A number from 0 to 1, as an argument's type."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
    return value


def add_score_threshold(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """`--score-threshold` under its three names."""
    parser.add_argument(
        *SCORE_THRESHOLD_NAMES,
        dest="score_threshold",
        type=share,
        metavar="S",
        help="least score of a box, 0..1 (that of the weights, chosen where they were evaluated)",
    )


def names(text: str) -> tuple[str, ...]:
    """Names between commas, as an argument's type."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise argparse.ArgumentTypeError(
            f"must be names of classes such as person,car, not {text!r}"
        )
    return found
