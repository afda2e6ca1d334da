import errno
import random
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from spyv4.checkpoint import load_model
from spyv4.errors import CheckpointError
from tests.integration.training_runs import draw_pictures, recipe, trainer
from training.run_state import Position, RunState
from training.runs import BEST, LAST, STATE_KEYS, WEIGHTS, RunFolder, _write_sealed


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


@pytest.fixture
def state(root: Path, tmp_path: Path) -> RunState:
    return trainer(root, tmp_path, recipe()).state


def test_a_checkpoint_holds_what_it_says(state: RunState) -> None:
    assert state.state_dict().keys() == STATE_KEYS


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("write failed")]
)
def test_failed_save_keeps_the_checkpoint_before(
    state: RunState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder = RunFolder(tmp_path)
    state.position = Position(1, 2)
    folder.save(state)

    def cut(_: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    state.position = Position(9, 9)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", cut)
        with pytest.raises(CheckpointError, match="the checkpoint before it is untouched"):
            folder.save(state)
    assert folder.load()["position"] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".jsonl") == [
        LAST,
        WEIGHTS,
    ]


def test_not_one_bit_of_a_checkpoint_may_change(state: RunState, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save(state)
    whole = folder.last.read_bytes()
    rng = random.Random(0)
    flipped = []
    for _ in range(60):
        place = rng.randrange(len(whole))
        changed = bytes([whole[place] ^ 1 << rng.randrange(8)])
        flipped.append(whole[:place] + changed + whole[place + 1 :])
    for data in (*flipped, whole[: len(whole) // 2], whole[:-1], whole[1:], whole + b"0", b""):
        folder.last.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"last\.pt is damaged.*--init-weights"):
            folder.load()
    folder.last.write_bytes(whole)
    assert folder.load()["position"] == [0, 0]


def test_torch_opens_a_checkpoint_as_it_is(state: RunState, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save(state)
    assert torch.load(folder.last, weights_only=True).keys() == STATE_KEYS


@pytest.mark.parametrize("other", [torch.ones(3), {"w": torch.ones(3)}])
def test_states_made_by_hand_are_refused(tmp_path: Path, other: object) -> None:
    _write_sealed(other, tmp_path / LAST)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="is not the checkpoint of a training run"):
        RunFolder(tmp_path).load()


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    _write_sealed({"path": Path("/")}, tmp_path / LAST)
    with pytest.raises(CheckpointError, match="cannot be read"):
        RunFolder(tmp_path).load()


def test_the_weights_of_the_highest_map_are_kept(root: Path, tmp_path: Path) -> None:
    state = trainer(root, tmp_path, recipe(learner={"kind": "plain"})).state
    folder = RunFolder(tmp_path)
    assert folder.best_map is None
    kept = []
    for number, mean_ap in enumerate((0.1, 0.3, 0.2, 0.3)):
        with torch.no_grad():
            state.learner.parameters[0].fill_(number)
        kept.append(folder.keep_if_best(state, mean_ap))
    assert kept == [True, True, False, False]
    assert folder.best_map == 0.3
    found = next(load_model(tmp_path / BEST).parameters())
    assert torch.equal(found, torch.ones_like(found))
