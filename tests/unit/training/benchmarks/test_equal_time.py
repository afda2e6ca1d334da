"""Comparisons at equal time: one short run, and what is made of many."""

import functools
import json
import multiprocessing
import multiprocessing.dummy
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.tiny_teacher import write_teacher
from tests.helpers.voc_tree import CLASS_NAMES, Scene, Thing, write_voc_tree
from training.benchmarks import equal_time
from training.benchmarks.equal_time import READS, main, run_one, table
from training.benchmarks.figures import write_json
from training.benchmarks.ways import COMPARISONS

RULES = list(COMPARISONS["learners"])


@pytest.fixture
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled, which takes a minute."""
    plain = functools.partial(equal_time.Trainer, compile_step=False)
    monkeypatch.setattr(equal_time, "Trainer", plain)


def arguments_for(tmp_path: Path) -> Namespace:
    """Of a comparison on sixteen drawn pictures that is over at once."""
    scenes = [
        Scene((60, 90), (Thing(CLASS_NAMES[i % 4], (5 + i, 5, 50 + i, 50)),)) for i in range(16)
    ]
    write_voc_tree(tmp_path, scenes)
    return Namespace(
        voc_root=tmp_path,
        train="VOC2012:train",
        eval="VOC2012:train",
        image_size=64,
        minutes=1e-4,
        report_classes=["cat", "dog"],
        teacher=write_teacher(tmp_path / "teacher.onnx"),
    )


@pytest.mark.usefixtures("_eager")
def test_a_run_stops_when_its_time_is_over_and_is_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "fptt.json"
    run_one(arguments_for(tmp_path), "fptt, alpha 2", 1, path)
    result = json.loads(path.read_text())
    assert (result["rule"], result["seed"], result["image_size"]) == ("fptt, alpha 2", 1, [64, 64])
    assert (result["learner"]["kind"], result["learner"]["alpha"]) == ("fptt", 2)
    assert result["epochs"] == pytest.approx(1)  # the batch of the clock, after that which compiles
    assert result["images_per_s"] == pytest.approx(16 / 6e-3)
    assert set(result["map"]) == set(result["firing_rate"]) == {str(reads) for reads in READS}


def result_of(rule: str, seed: int) -> dict[str, Any]:
    """The better the more reads, and by a point the better of two seeds."""
    return {
        "rule": rule,
        "penalty_ratio": 0.125,
        "images_per_s": 20.0,
        "epochs": 2.0,
        "peak_memory_mib": 1000 + 100 * seed,
        "map": {str(reads): 0.01 * (reads + seed) for reads in READS},
    }


def test_a_row_of_the_table_is_the_mean_over_seeds() -> None:
    lines = table([result_of("bptt", 0), result_of("bptt", 1)]).splitlines()
    assert len(lines) == 3
    assert lines[1].count("---") == lines[0].count("|") - 1 == 9
    assert lines[2] == (
        "| bptt | 0.12 | 20.0 | 2.0 | 1050 | 1.50 (1.00 to 2.00) | 2.50 (2.00 to 3.00) | "
        "4.50 (4.00 to 5.00) | 8.50 (8.00 to 9.00) |"
    )
    assert table([result_of("plain", 3)]).endswith("| 1300 | 4.00 | 5.00 | 7.00 | 11.00 |")


def test_runs_that_are_done_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[tuple[str, int]] = []

    def pretended(_: Namespace, rule: str, seed: int, path: Path) -> None:
        made.append((rule, seed))
        write_json(path, result_of(rule, seed))

    monkeypatch.setattr(equal_time, "run_one", pretended)
    # Threads are no processes, but they are started, looked at and waited for in the same way.
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: multiprocessing.dummy)
    written, drawn = tmp_path / "learners.json", tmp_path / "learners.svg"
    where = [
        "learners",
        "--voc-root",
        str(tmp_path),
        "--runs",
        str(tmp_path / "runs"),
        "--json",
        str(written),
    ]
    assert main([*where, "--seeds", "1"]) == 0
    assert made == [(rule, 0) for rule in RULES]
    assert main([*where, "--seeds", "2", "--parallel", "3", "--figure", str(drawn)]) == 0
    assert sorted(made[len(RULES) :]) == sorted((rule, 1) for rule in RULES)
    results = json.loads(written.read_text())
    assert len(results) == 2 * len(RULES)
    assert table(results) in capsys.readouterr().out
    assert all(rule in drawn.read_text() for rule in ("<svg", *RULES))


def test_a_run_that_fails_ends_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failed(multiprocessing.dummy.DummyProcess):
        exitcode = 1  # type: ignore[assignment]

    context = Namespace(Process=Failed)
    monkeypatch.setattr(equal_time, "run_one", lambda *_: None)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    written = tmp_path / "learners.json"
    where = [
        "learners",
        "--voc-root",
        str(tmp_path),
        "--runs",
        str(tmp_path / "runs"),
        "--json",
        str(written),
    ]
    assert main(where) == 1
    assert not written.exists()


@pytest.mark.usefixtures("_eager")
def test_a_twin_and_a_teacher_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, bool]] = []
    train = equal_time._train

    def watched(*arguments: Any) -> Any:
        trainer, *rest = train(*arguments)
        config = trainer.state.config
        begun.append((config.model.neuron.kind, trainer.state.distillation is not None))
        return (trainer, *rest)

    monkeypatch.setattr(equal_time, "_train", watched)
    path = tmp_path / "runs" / "twin.json"
    run_one(arguments_for(tmp_path), "from its twin, with a teacher", 0, path)
    assert begun == [("leaky-relu", True), ("ltc", True)]
    assert json.loads(path.read_text())["rule"] == "from its twin, with a teacher"
