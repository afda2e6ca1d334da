"""What Ctrl-C and SIGTERM do, at every moment of a command.

Nothing but the standard library is imported here, so that the signals are answered while torch
loads.
"""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from training.process_tree import end_children

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STDERR = 2
_END_OF_WATCH = 0
STOPPING = "stopping: saving after this batch; press Ctrl-C again to end at once"


class Interrupts:
    """Whether a run shall stop, and what its process does when it is told to.

    Within `batches` the first signal sets `requested`: the run saves after the batch at hand. At
    any other moment, and within `at_once`, there is nothing to save, and the process ends.

    Within `listening`, which is for commands, a thread of its own answers, since the main thread
    may be in a call that takes a minute; it ends the process without unwinding, which for the
    same reason would come late. Without `listening`, as in a program that uses `Trainer`, a second
    Ctrl-C within `batches` raises `KeyboardInterrupt`, and nothing else is changed.

    Attributes:
        requested: whether the run shall save and end.
        say: shows a line; None for standard error.
        advice: what the last line says of how to go on; may be empty.

    Args:
        command: the name of the command, for its lines.
    """

    def __init__(self, command: str = "") -> None:
        self.requested = False
        self.say: Callable[[str], None] | None = None
        self.advice: Callable[[], str] = str
        self._command = command
        self._doing = ""
        self._saves = False
        self._number = signal.SIGINT
        self._listening = False
        self._ending = False
        self._lock = threading.Lock()

    @contextmanager
    def listening(self) -> Iterator["Interrupts"]:
        """Within the block the two signals are answered at once; for the main thread alone."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        watch = threading.Thread(target=self._watch, args=(reader,), daemon=True)
        watch.start()
        # For this thread, and what it starts, so that the other one gets them: a terminal sends
        # them to the whole group, and no child shall die of one before this process has decided.
        kept_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        kept_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        kept = {number: signal.signal(number, self._rest) for number in _SIGNALS}
        self._listening = True
        try:
            yield self
        finally:
            self._listening = False
            for number, handler in kept.items():
                signal.signal(number, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, kept_mask)
            signal.set_wakeup_fd(kept_writer)
            os.write(writer, bytes([_END_OF_WATCH]))
            watch.join()
            os.close(reader)
            os.close(writer)

    @contextmanager
    def batches(self) -> Iterator[None]:
        """Within the block the first signal asks the run to save after the batch at hand."""
        if self._listening:
            with self._state(self._doing, saves=True):
                yield
            return

        def ask(number: int, _frame: FrameType | None) -> None:
            if self.requested and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.requested = True

        kept = {number: signal.signal(number, ask) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self, doing: str) -> Iterator[None]:
        """Within the block there is nothing to save: a signal ends the process at once.

        Args:
            doing: what the last line says was going on, such as "evaluating".
        """
        with self._state(doing, saves=False):
            if self._listening and self.requested:
                self._end()
            yield

    @contextmanager
    def _state(self, doing: str, *, saves: bool) -> Iterator[None]:
        with self._lock:
            kept, (self._doing, self._saves) = (self._doing, self._saves), (doing, saves)
        try:
            yield
        finally:
            with self._lock:
                self._doing, self._saves = kept

    def _watch(self, reader: int) -> None:
        """The thread that answers; the interpreter writes the number of every signal."""
        while (number := os.read(reader, 1)[0]) != _END_OF_WATCH:
            if number in _SIGNALS:
                self._answer(signal.Signals(number))

    def _answer(self, number: signal.Signals) -> None:
        with self._lock:
            if self._saves and self.requested and number == signal.SIGTERM:
                return  # schedulers repeat it
            first = self._saves and not self.requested
            self._number = number
            if not first:
                self._end()
            self.requested = True
        (self.say or self._write)(STOPPING)

    def _end(self) -> NoReturn:
        """Say it, end the children, then this process."""
        self._ending = True
        if threading.current_thread() is not threading.main_thread():
            # Else that would go on meanwhile, and complain of children that it misses.
            _thread.interrupt_main(self._number)
        doing = f" while {self._doing}" if self._doing else ""
        advice = self.advice()
        self._write(f"{self._command}: stopped{doing}{'; ' if advice else ''}{advice}")
        end_children()
        os._exit(128 + self._number)

    def _rest(self, _number: int, _frame: FrameType | None) -> None:
        """The main thread's handler: the other thread answers."""
        while self._ending:
            time.sleep(1)

    def _write(self, line: str) -> None:
        """To the terminal itself: the main thread may rest while it holds a lock of `sys.stderr`.

        A progress bar stands where the line goes: a terminal clears it, a file gets a new line.
        """
        bar = self.say is not None
        start = ("\r\x1b[K" if sys.stderr.isatty() else "\n") if bar else ""
        os.write(_STDERR, f"{start}{line}\n".encode())
