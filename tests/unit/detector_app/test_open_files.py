"""How many files, and therefore connections, a process asks the system for."""

from types import SimpleNamespace

import pytest

from detector_app.http import connections
from detector_app.http.connections import OPEN_FILES, raise_open_files

UNLIMITED = -1


def limited(monkeypatch, soft, hard, refused=None):
    """A system with these limits, which may refuse to change them."""
    limits = [soft, hard]

    def setrlimit(_, wanted):
        if refused is not None:
            raise refused
        limits[:] = wanted

    system = SimpleNamespace(
        RLIMIT_NOFILE=7,
        RLIM_INFINITY=UNLIMITED,
        getrlimit=lambda _: tuple(limits),
        setrlimit=setrlimit,
    )
    monkeypatch.setattr(connections, "resource", system)
    return limits


@pytest.mark.parametrize(
    ("soft", "hard", "granted", "after"),
    [
        (256, 1_000_000, OPEN_FILES, OPEN_FILES),
        (256, UNLIMITED, OPEN_FILES, OPEN_FILES),
        (256, 1_000, 1_000, 1_000),  # no more than there may be
        (9_000, 10_000, 9_000, 9_000),  # nor fewer than there are
        (UNLIMITED, UNLIMITED, OPEN_FILES, UNLIMITED),
    ],
)
def test_as_many_as_the_system_grants(monkeypatch, soft, hard, granted, after):
    limits = limited(monkeypatch, soft, hard)
    assert raise_open_files() == granted
    assert limits == [after, hard]


@pytest.mark.parametrize("refused", [OSError(), ValueError()])
def test_a_system_that_grants_nothing_leaves_what_there_is(monkeypatch, refused):
    limited(monkeypatch, 256, 4_096, refused)
    assert raise_open_files() == 256


def test_a_system_without_limits(monkeypatch):
    monkeypatch.setattr(connections, "resource", None)
    assert raise_open_files() == OPEN_FILES
