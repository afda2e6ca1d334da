"""`--data`: the commands on a data file."""

import json
from pathlib import Path

import pytest

from spyv4.checkpoint import load_model
from tests.helpers.layouts import write_coco_data, write_yolo
from tests.helpers.voc_tree import CLASS_NAMES
from tests.integration.training_runs import PICTURES, TINY, draw_pictures
from tests.integration.training_runs import command as voc_command
from training.commands.eval import eval_command
from training.commands.train import train_command
from training.data import read_split
from training.runs import WEIGHTS

SETTINGS = ("model.width_multiple=0.125", 'precision="float32"')


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen pictures in all layouts: VOC, `coco.toml` and `data.yaml`."""
    root = draw_pictures(tmp_path_factory.mktemp("data"))
    images = read_split(root, "VOC2012:train", CLASS_NAMES)
    write_coco_data(images, root, CLASS_NAMES)
    write_yolo(images, root, CLASS_NAMES)
    return root


def command(file: Path, run_dir: Path, *more: str) -> list[str]:
    """One epoch of the tiny network, whose classes are the file's."""
    arguments = voc_command(file, run_dir, *more, settings=SETTINGS)
    start = arguments.index("--run")
    return ["--data", str(file), *arguments[start:]]


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on `data.yaml`, with its evaluation."""
    run_dir = tmp_path_factory.mktemp("run") / "yolo"
    arguments = [part for part in command(root / "data.yaml", run_dir) if part != "--no-eval"]
    assert train_command(arguments) == 0
    return run_dir


def test_a_data_yaml_trains_a_network_of_its_classes(trained: Path) -> None:
    config = load_model(trained / WEIGHTS).config
    assert config.class_names == CLASS_NAMES
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert any(line.get("pictures") == PICTURES for line in lines)


def test_the_layouts_train_the_same_network(root: Path, trained: Path, tmp_path: Path) -> None:
    """Of COCO to the last bit; of YOLO but for the rounding of its shares."""
    assert train_command(command(root / "coco.toml", tmp_path / "coco")) == 0
    assert train_command(voc_command(root, tmp_path / "voc", settings=TINY)) == 0
    voc, coco, yolo = (
        dict(load_model(folder / WEIGHTS).named_parameters())
        for folder in (tmp_path / "voc", tmp_path / "coco", trained)
    )
    for name, value in voc.items():
        assert value.equal(coco[name]), name
        assert (value - yolo[name]).abs().max() < 1e-3, name


def test_evaluation_takes_a_data_file(
    root: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = []
    weights = ["--weights", str(trained / WEIGHTS), "--reads", "1", "--score-threshold", "0"]
    for source in (
        ["--voc-root", str(root), "--eval", "VOC2012:train"],
        ["--data", str(root / "data.yaml")],
        ["--data", str(root / "coco.toml"), "--eval", "train"],
    ):
        written = tmp_path / "e.json"
        assert eval_command([*source, *weights, "--json", str(written)]) == 0
        documents.append(json.loads(written.read_text()))
    assert f"data.yaml:val: {PICTURES} images" in capsys.readouterr().out
    assert [document["eval"] for document in documents] == [
        "VOC2012:train",
        "data.yaml:val",
        "coco.toml:train",
    ]
    voc, *others = documents
    for document in others:
        assert document["boxes_per_class"] == voc["boxes_per_class"]
        assert document["by_reads"]["1"]["map"] == pytest.approx(voc["by_reads"]["1"]["map"])


def test_saved_detections_are_of_the_files_classes(root: Path, tmp_path: Path) -> None:
    saved, written = tmp_path / "P.json", tmp_path / "e.json"
    box = {"image_id": "000000", "category": "cat", "bbox": [7, 5, 53, 55], "score": 0.9}
    saved.write_text(json.dumps([box]))
    source = ["--data", str(root / "data.yaml"), "--predictions", str(saved)]
    assert eval_command([*source, "--json", str(written)]) == 0
    document = json.loads(written.read_text())
    assert list(document["boxes_per_class"]) == list(CLASS_NAMES)
    assert document["by_reads"]["saved"]["ap_per_class"]["cat"] == pytest.approx(1 / 4)


def test_a_run_keeps_its_classes_and_weights_of_others_start_new_heads(
    root: Path,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = (root / "data.yaml").read_text()
    other = root / "other.yaml"
    other.write_text(text.replace('"cat", "dog"', '"lion", "wolf"'))
    resumed = command(root / "data.yaml", trained, "--resume", "--epochs", "1")
    assert train_command(resumed) == 0
    resumed[1] = str(other)
    assert train_command(resumed) == 2
    assert "a resumed run keeps its network" in capsys.readouterr().err
    start = ["--init-weights", str(trained / WEIGHTS)]
    assert train_command(command(other, tmp_path / "next", *start)) == 0
    assert "these start anew: lion, wolf" in caplog.text
    assert load_model(tmp_path / "next" / WEIGHTS).config.class_names[0] == "lion"
    weights = ["--weights", str(trained / WEIGHTS)]
    assert eval_command(["--data", str(other), *weights]) == 2
    assert "the class 'lion' (2 in all) that the network does not know" in capsys.readouterr().err


def test_what_is_said_on_the_command_line_goes_before_the_file(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["--set", 'model.class_names=["car", "bus", "dog", "cat", "boat"]']
    assert train_command(command(root / "data.yaml", tmp_path / "run", *sets)) == 0
    assert load_model(tmp_path / "run" / WEIGHTS).config.class_names[4] == "boat"
    sets = ["--set", 'model.class_names=["car"]']
    assert train_command(command(root / "data.yaml", tmp_path / "less", *sets)) == 2
    assert "the class 'cat' (3 in all)" in capsys.readouterr().err
    (tmp_path / "run.toml").write_text('[model]\nclass_names = ["x"]\n')
    config = ["--config", str(tmp_path / "run.toml")]
    assert train_command(command(root / "data.yaml", tmp_path / "file", *config)) == 0
    assert load_model(tmp_path / "file" / WEIGHTS).config.class_names == CLASS_NAMES


@pytest.mark.parametrize("run", [train_command, eval_command])
def test_mistakes_are_answered_in_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run
) -> None:
    (tmp_path / "bad.yaml").write_text("train: images\nname: [a]\n")
    assert run(["--data", str(tmp_path / "bad.yaml")]) == 2
    assert "unknown key 'name'; did you mean 'names'" in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    assert run(["--data", str(root / "data.yaml"), "--eval", "VOC2007:test"]) == 2
    assert "VOC2007:test" in (error := capsys.readouterr().err)
    assert run(["--data", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    for source in ([], ["--data", "a.yaml", "--voc-root", "."]):
        with pytest.raises(SystemExit) as stop:
            run(source)
        assert stop.value.code == 2
