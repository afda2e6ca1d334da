import os
from pathlib import Path

import pytest

from spyv4.errors import ConfigError
from training.action import _network_name
from training.commands.train import train_parser
from training.run_names import locked, new_run, newest_run
from training.runs import LAST


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_run_gets_a_folder_of_its_own() -> None:
    with new_run(None, "nano") as first, new_run(None, "nano") as second:
        assert [str(first), str(second)] == ["runs/nano", "runs/nano2"]
        (second / LAST).touch()
    with new_run(None, "nano") as third:  # nothing was kept in the first
        assert str(third) == "runs/nano"
        (third / LAST).touch()
    with new_run(None, "nano") as fourth:
        assert str(fourth) == "runs/nano3"
    assert sorted(path.name for path in Path("runs").iterdir()) == ["nano", "nano2"]


def test_no_name_leads_out_of_the_folder() -> None:
    with new_run(None, "../up/and away") as path:
        assert str(path) == "runs/__up_and_away"


def test_a_run_in_the_given_folder_is_not_overwritten() -> None:
    with new_run(Path("mine"), "nano") as path:
        assert path == Path("mine")
        (path / LAST).touch()
    assert path.exists()
    refused = pytest.raises(ConfigError, match="mine holds a run already; add --resume")
    with refused, new_run(Path("mine"), "nano"):
        pass


def test_a_new_folder_in_which_nothing_was_kept_goes_again() -> None:
    with new_run(None, "nano"):
        pass
    assert not Path("runs").exists()
    with new_run(Path("a/given"), "nano"):
        assert Path("a/given").is_dir()
    assert not Path("a/given").exists()
    Path("mine").mkdir()
    with new_run(Path("mine"), "nano"):
        pass
    assert Path("mine").is_dir()


def test_two_processes_do_not_train_in_one_folder() -> None:
    with locked(Path("none")):  # nothing to lock
        pass
    Path("mine").mkdir()
    for _ in range(2):
        with locked(Path("mine")):
            refused = pytest.raises(ConfigError, match="another process is training in mine")
            with refused, locked(Path("mine")):
                pass


def test_the_run_that_was_saved_last_is_the_newest() -> None:
    with pytest.raises(ConfigError, match=r"no run in runs/ to resume; .*--run FOLDER"):
        newest_run()
    for age, name in enumerate(("b", "a", "c")):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, LAST).touch()
        os.utime(Path("runs", name, LAST), (100 - age, 100 - age))
    Path("runs", "empty").mkdir()
    assert newest_run() == Path("runs/b")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ((), "spyv4"),
        (("--init-weights", "spyv4-nano"), "spyv4-nano"),
        (("--init-weights", "spyv4-nano", "--model", "spyv4"), "spyv4"),
        (("--model", "spyv4-nano", "--twin"), "spyv4-nano-twin"),
    ],
)
def test_a_run_is_named_after_its_network(said: tuple[str, ...], name: str) -> None:
    assert _network_name(train_parser().parse_args(["--voc-root", ".", *said])) == name
