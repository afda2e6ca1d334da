import errno
import zipfile
from pathlib import Path

import pytest
import torch

from spyv4.errors import CheckpointError
from training.checkpoints import LAST, STATE_KEYS, load_run, save_run

WHOLE: dict[str, object] = dict.fromkeys(STATE_KEYS, 0)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("write failed")]
)
def test_failed_save_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    save_run(WHOLE | {"position": [1, 2], "model": torch.ones(3)}, tmp_path)

    def cut(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", cut)
        with pytest.raises(CheckpointError, match="the checkpoint before it is untouched"):
            save_run({"position": [9, 9]}, tmp_path)
    state = load_run(tmp_path)
    assert state["position"] == [1, 2]
    assert torch.equal(state["model"], torch.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


def test_cut_and_foreign_archives_are_refused(tmp_path: Path) -> None:
    save_run(WHOLE | {"model": torch.ones(300)}, tmp_path)
    whole = (tmp_path / LAST).read_bytes()
    for data in (whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / LAST).write_bytes(data)
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_run(tmp_path)
    with zipfile.ZipFile(tmp_path / LAST, "w") as archive:
        archive.writestr("notes.txt", "no checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_run(tmp_path)


@pytest.mark.parametrize("other", [torch.ones(3), {"w": torch.ones(3)}])
def test_other_torch_files_are_refused(tmp_path: Path, other: object) -> None:
    torch.save(other, tmp_path / LAST)
    with pytest.raises(CheckpointError, match="is not the checkpoint of a training run"):
        load_run(tmp_path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"path": Path("/")}, tmp_path / LAST)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_run(tmp_path)
