"""The command `spyv4-train`: resuming, settings, and what it says of mistakes."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from spyv4.checkpoint import load_model, save_model
from spyv4.errors import CheckpointError
from tests.helpers.tiny_model import tiny_model
from tests.helpers.voc_tree import CLASS_NAMES
from tests.integration.training_runs import PICTURES, TINY, command, draw_pictures
from training.commands.train import train_command, train_parser
from training.loop import Trainer
from training.resolve import resolve_config
from training.runs import LAST, WEIGHTS, RunFolder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


def test_finished_and_half_done_runs_are_not_overwritten(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    assert train_command(command(root, run_dir)) == 0
    before = (run_dir / LAST).read_bytes()
    assert train_command(command(root, run_dir)) == 2
    assert "add --resume or choose another --run" in capsys.readouterr().err
    assert (run_dir / LAST).read_bytes() == before
    longer = command(root, run_dir, "--resume", "--epochs", "2")
    assert train_command(longer) == 2
    assert "epochs 2 instead of 1" in capsys.readouterr().err
    assert train_command([*longer, "--allow-config-change"]) == 0
    assert RunFolder(run_dir).load()["position"] == [2, 0]


def test_resumed_run_keeps_its_settings_but_for_those_said_anew(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = (*TINY, "learner.alpha=0.05", "optimizer.weight_decay=0.1")
    assert train_command(command(root, tmp_path, settings=settings)) == 0
    bare = f"--voc-root {root} --train VOC2012:train --run {tmp_path} --workers 0 --device cpu"
    bare += " --no-compile --no-tensorboard --no-eval --resume"
    bare += " --allow-config-change"
    more = ["--epochs", "2", "--set", "optimizer.weight_decay=0.2"]
    assert train_command([*bare.split(), *more]) == 0
    state = RunFolder(tmp_path).load()
    config = json.loads(state["config"])
    assert (config["epochs"], config["batch_size"], config["learner"]["alpha"]) == (2, 4, 0.05)
    assert config["model"]["width_multiple"] == 0.125
    assert state["optimizer"]["param_groups"][0]["weight_decay"] == 0.2
    assert "optimizer.weight_decay 0.2 instead of 0.1" in caplog.text
    assert "learner.alpha" not in caplog.text
    for other in (["--set", "model.width_multiple=0.25"], ["--model", "spyv4-nano"]):
        assert train_command([*bare.split(), *other]) == 2
        assert "keeps its network" in capsys.readouterr().err


def test_command_line_goes_before_the_file_and_anchors_follow_the_size(
    root: Path, tmp_path: Path
) -> None:
    text = "[model]\nimage_size = [832, 832]\n"
    (tmp_path / "run.toml").write_text(text)
    more = ("--config", str(tmp_path / "run.toml"))
    assert train_command(command(root, tmp_path / "run", *more)) == 0
    model = load_model(tmp_path / "run" / WEIGHTS).config
    assert (model.image_size, model.reads) == ((64, 64), 1)
    assert model.heads[0].anchors[2] == (round(344 * 64 / 416, 1), round(319 * 64 / 416, 1))
    from_file = resolve_config(train_parser().parse_args(["--voc-root", str(root), *more]))
    assert from_file.model.heads[0].anchors[2] == (688, 638)


def test_file_of_another_encoding_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.toml").write_bytes(b"# caf\xe9\n")
    more = ("--config", str(tmp_path / "run.toml"))
    assert train_command(command(root, tmp_path / "run", *more)) == 2
    assert "run.toml is not UTF-8 text" in capsys.readouterr().err


def test_nothing_to_resume_is_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_command(command(root, tmp_path / "none", "--resume")) == 2
    error = capsys.readouterr().err
    assert "nothing to resume" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("data", [b"", b"no checkpoint at all", b"PK\x03\x04 cut", b"\x80\x02K"])
def test_damaged_checkpoint_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    (tmp_path / LAST).write_bytes(data)
    with pytest.raises(CheckpointError, match="its checksum does not fit"):
        RunFolder(tmp_path).load()
    assert train_command(command(root, tmp_path, "--resume")) == 2
    assert LAST in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "settings", "message"),
    [
        ((), (*TINY, "learner.alhpa=1"), "did you mean 'learner.alpha'"),
        ((), (*TINY, "learner.alpha=-1"), "learner.alpha must be greater than 0"),
        ((), (*TINY, 'precision="half"'), "precision must be 'auto', 'bfloat16' or"),
        ((), (*TINY, "learner"), "is not valid TOML"),
        ((), (*TINY, "model=1"), "model must be a table"),
        ((), (*TINY, "optimizer=1"), "optimizer must be a table"),
        (("--epochs", "0"), TINY, "epochs must be at least 1"),
        (("--batch-size", "99"), TINY, "do not fill one batch of 99"),
        (("--image-size", "65", "64"), TINY, "multiples of 32"),
        (("--train", "VOC2012:nothing"), TINY, "nothing"),
        ((), (*TINY, "freeze_batch_norm=true"), "--init-weights"),
        (("--config", "/nowhere.toml"), TINY, "nowhere.toml"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    settings: tuple[str, ...],
    message: str,
) -> None:
    assert train_command(command(root, tmp_path / "run", *more, settings=settings)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_compiling_without_a_compiler_is_refused(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    arguments = [a for a in command(root, tmp_path / "run") if a != "--no-compile"]
    assert train_command(arguments) == 2
    assert "add --no-compile" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_command(command(root, tmp_path / "run", "--device", "cuda")) == 2
    assert "no CUDA GPU" in capsys.readouterr().err


def test_initial_weights_are_where_the_run_starts(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert train_command(command(root, tmp_path / "first")) == 0
    weights = tmp_path / "first" / WEIGHTS
    tiny = ("model.class_names=" + '["cat", "dog", "bus", "car"]', 'precision="float32"')
    more = ("--init-weights", str(weights), "--learning-rate", "1e-9")
    assert train_command(command(root, tmp_path / "next", *more, settings=tiny)) == 0
    start, end = load_model(weights), load_model(tmp_path / "next" / WEIGHTS)
    for one, other in zip(start.parameters(), end.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert (
        train_command(
            command(root, tmp_path / "bad", *more, "--model", "spyv4-nano", settings=tiny)
        )
        == 2
    )
    assert "not spyv4-nano" in capsys.readouterr().err
    others = (*tiny, 'model.class_names=["dog", "cat", "bus", "car", "boat"]')
    assert train_command(command(root, tmp_path / "own", *more, settings=others)) == 0
    assert "these start anew: boat\n" in caplog.text
    own = load_model(tmp_path / "own" / WEIGHTS)
    assert own.config.class_names[0] == "dog"
    torch.testing.assert_close(
        *(model.spiking["csp3_d"].synapse.conv.weight for model in (own, start)), rtol=0, atol=1e-6
    )
    for mine, theirs in zip(own.heads, start.heads, strict=True):
        outputs = [head.weight.view(3, 5 + n, -1) for head, n in ((mine, 5), (theirs, 4))]
        kept = outputs[0][:, [0, 1, 2, 3, 4, 6, 5, 7, 8]]  # cat before dog
        torch.testing.assert_close(kept, outputs[1], rtol=0, atol=1e-6)
    wrong = (*tiny, "model.width_multiple=0.25")
    assert train_command(command(root, tmp_path / "bad", *more, settings=wrong)) == 2
    assert "does not fit the configured network" in capsys.readouterr().err


def test_folded_weights_are_a_start_too(root: Path, tmp_path: Path) -> None:
    """Folded for inference, they have no batch norm any more, and neither has the run."""
    weights = tmp_path / "folded.safetensors"
    save_model(tiny_model(class_names=CLASS_NAMES).fold(), weights)
    more = ("--init-weights", str(weights), "--learning-rate", "1e-9")
    assert train_command(command(root, tmp_path / "run", *more, settings=TINY[1:])) == 0
    start, end = load_model(weights), load_model(tmp_path / "run" / WEIGHTS)
    assert end.folded
    for one, other in zip(start.parameters(), end.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_further_folders_of_pictures_are_trained_on(root: Path, tmp_path: Path) -> None:
    more = [("--extra-voc-root", str(draw_pictures(tmp_path / name))) for name in "ab"]
    assert train_command(command(root, tmp_path / "run", *more[0], *more[1])) == 0
    (first, *_) = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert json.loads(first)["pictures"] == 3 * PICTURES


def test_too_little_memory_of_a_gpu_is_said_in_one_line(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")

    monkeypatch.setattr(Trainer, "run", fail)
    assert train_command(command(root, tmp_path / "run")) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("spyv4-train: error: the GPU's memory is too small for this; use a")
    assert f"--resume from {tmp_path / 'run'}" in line


def test_a_dry_run_says_what_it_would_be_and_leaves_nothing(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    dry = [a for a in command(root, run_dir, "--dry-run", "--epochs", "7") if a != "--no-eval"]
    assert train_command(dry) == 0
    said = capsys.readouterr().out
    assert "training: 13 pictures, 13 boxes, 0 difficult" in said
    assert "evaluation: 13 pictures" in said
    assert "  cat         4 pictures         4 boxes" in said
    assert "3 batches an epoch" in said
    assert "7 epochs" in said
    assert "GiB" in said
    assert not run_dir.exists()


def test_deterministic_runs_are_the_same_to_the_last_bit(root: Path, tmp_path: Path) -> None:
    runs = [tmp_path / "one", tmp_path / "other"]
    settings = tuple(text for text in TINY if not text.startswith("precision"))
    try:
        for run_dir in runs:
            more = ("--deterministic", "--learner", "fptt")
            assert train_command(command(root, run_dir, *more, settings=settings)) == 0
            assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(mode=False)
    one, other = (load_model(run_dir / WEIGHTS).state_dict() for run_dir in runs)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    config = json.loads(RunFolder(runs[0]).load()["config"])
    assert config["precision"] == "float32"  # a measured one may change


def test_pictures_that_teach_nothing_are_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hard = tmp_path / "hard"
    shutil.copytree(root, hard)
    for path in hard.rglob("*.xml"):
        text = path.read_text()
        assert "<difficult>0<" in text
        path.write_text(text.replace("<difficult>0<", "<difficult>1<"))
    assert train_command(command(hard, tmp_path / "run")) == 2
    assert "none of the 13 training pictures shows an object" in capsys.readouterr().err


@pytest.mark.parametrize("anchor", ["[0.0, 5.0]", "[1e9, 5.0]", "[5.0]", "[nan, 5.0]"])
def test_anchors_that_are_no_shapes_are_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], anchor: str
) -> None:
    heads = f'model.heads=[{{layer="p5_out", anchors=[{anchor}]}}]'
    assert train_command(command(root, tmp_path / "run", settings=(*TINY, heads))) == 2
    assert "model.heads.0.anchors" in capsys.readouterr().err
