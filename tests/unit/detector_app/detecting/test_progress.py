import io

import pytest

from detector_app.detecting.progress import CLEAR, Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("total", "done", "elapsed_s", "line"),
    [
        (377, 100, 5.0, "clip.mp4: 100/377 frames, 20.0 a second, 0:14 left"),
        (10_000, 10, 2.0, "clip.mp4: 10/10000 frames, 5.0 a second, 33:18 left"),
        (377, 377, 10.0, "clip.mp4: 377/377 frames, 37.7 a second, 0:00 left"),
        (377, 380, 10.0, "clip.mp4: 380/377 frames, 38.0 a second"),
        (377, 0, 1.0, "clip.mp4: 0/377 frames, 0.0 a second"),
        (0, 50, 5.0, "clip.mp4: 50 frames, 10.0 a second"),
    ],
)
def test_the_line_says_how_far_how_fast_and_how_long(total, done, elapsed_s, line):
    assert Progress(io.StringIO(), "clip.mp4", total, "frames").line(done, elapsed_s) == line


def test_a_terminal_is_shown_it_a_few_times_a_second(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    terminal = Terminal()
    progress = Progress(terminal, "pictures", 40, "pictures")
    for done in range(1, 41):
        now[0] += 0.0625
        progress.show(done)
    assert 8 <= terminal.getvalue().count(CLEAR) <= 11
    assert terminal.getvalue().startswith(f"{CLEAR}pictures: 4/40 pictures, 16.0 a second")
    before = len(terminal.getvalue())
    progress.clear()
    assert terminal.getvalue()[before:] == CLEAR


def test_a_file_is_not(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    stream = io.StringIO()
    progress = Progress(stream, "pictures", 40, "pictures")
    now[0] = 9.0
    progress.show(3)
    progress.clear()
    assert stream.getvalue() == ""
