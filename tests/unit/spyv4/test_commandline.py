"""What all commands share: exit codes, one line of error, and types of arguments."""

import argparse
import os
import subprocess
import sys

import pytest

from spyv4.commandline import build_parser, run_command, share
from spyv4.errors import ArgumentError


def run(error: BaseException | None, *arguments: str) -> int:
    """A command that ends so."""

    def action(_: argparse.Namespace) -> None:
        if error is not None:
            raise error

    return run_command(build_parser("command", "", ""), action, [*arguments])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, 0, ""),
        (ArgumentError("reads must be 1"), 2, "command: error: reads must be 1\n"),
        (FileNotFoundError("no a.jpg"), 2, "command: error: no a.jpg\n"),
        (OSError(28, "No space left"), 1, "command: error: [Errno 28] No space left\n"),
        (
            BrokenPipeError(32, "Broken pipe"),
            1,
            "command: error: [Errno 32] Broken pipe\n",
        ),  # another pipe
        (KeyboardInterrupt(), 130, "command: stopped\n"),
    ],
)
def test_an_end_has_its_code_and_line(
    error: BaseException | None, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(error) == code
    assert capsys.readouterr().err == said


def test_debugging_shows_where_an_error_comes_from() -> None:
    with pytest.raises(ArgumentError, match="reads must be 1"):
        run(ArgumentError("reads must be 1"), "--debug")


@pytest.mark.parametrize("text", ["half", "-0.1", "1.1", "nan"])
def test_a_share_is_a_number_from_0_to_1(text: str) -> None:
    assert share("0.25") == 0.25
    with pytest.raises(argparse.ArgumentTypeError, match=f"from 0 to 1, not '{text}'"):
        share(text)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("lines", [1, 5000])
def test_a_command_ends_in_peace_when_nobody_reads_it(lines: int, unbuffered: str) -> None:
    """Some lines fit in a buffer, and are written at the end; many do not."""
    read, write = os.pipe()
    os.close(read)
    code = (
        "import sys; from spyv4.commandline import build_parser, run_command as run; "
        f"say = lambda _: print('9\\n' * {lines}); "
        "sys.exit(run(build_parser('c', '', ''), say, []))"
    )
    with os.fdopen(write, "wb") as nobody:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (141, b"")
