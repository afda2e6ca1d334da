"""Commands in a session of their own, as a terminal starts them, and who is left of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_S = 120


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


class Session:
    """A Python program; its standard streams go to files in `folder`."""

    def __init__(self, program: str, arguments: list[str], folder: Path, **env: str) -> None:
        self._out, self._err = folder / "stdout.txt", folder / "stderr.txt"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", program, *arguments],
                stdout=out,
                stderr=err,
                start_new_session=True,
                env={**os.environ, **env},
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Until the condition holds, while the program runs."""

        def held() -> object:
            assert self.process.poll() is None, self.stderr
            return condition()

        wait_until(held, what)

    def signal(self, number: signal.Signals) -> None:
        """To the whole group, as a terminal does it."""
        os.killpg(self.process.pid, number)

    def end(self) -> int:
        """The exit code, after checking that nothing of the session is left."""
        code = self.process.wait(PATIENCE_S)
        wait_until(lambda: not self.members(), f"the end of {self.members()}")
        return code

    def members(self) -> list[str]:
        """Command lines of the processes that still run."""
        found = []
        for folder in Path("/proc").iterdir():
            try:
                state = (folder / "stat").read_text().rpartition(")")[2].split()
                if state[3] == str(self.process.pid) and state[0] != "Z":
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
            except (OSError, IndexError):
                pass
        return found


@contextmanager
def session(program: str, arguments: list[str], folder: Path, **env: str) -> Iterator[Session]:
    """A `Session` that is killed at the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Session(program, arguments, folder, **env)
    try:
        yield made
    finally:
        with suppress(ProcessLookupError):
            os.killpg(made.process.pid, signal.SIGKILL)
        made.process.wait(PATIENCE_S)
