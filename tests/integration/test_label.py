"""`spyv4-label`: what it writes is what the detector finds, and trains a network."""

from pathlib import Path

import numpy as np
import pytest

from spyv4 import Detector
from spyv4.checkpoint import load_model, save_model
from tests.helpers.tiny_model import tiny_model
from tests.helpers.tiny_teacher import write_teacher
from tests.helpers.voc_tree import CLASS_NAMES
from tests.integration.training_runs import PICTURES, draw_pictures
from tests.integration.training_runs import command as train_arguments
from training.commands.label import label_command
from training.commands.train import train_command
from training.data import AnnotatedImage, open_source, read_split
from training.data.voc import from_voc_pixels
from training.evaluate.voc_ap import pairwise_iou
from training.runs import WEIGHTS

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
THRESHOLDS = ("--min-score", "0.005", "--difficult-score", "0.002")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc")) / "VOC2012" / "JPEGImages"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(tiny_model(class_names=CLASS_NAMES), path)
    return path


def read(folder: Path, layout: str) -> tuple[tuple[str, ...], list[AnnotatedImage]]:
    source = open_source(None, folder / ("data.yaml" if layout == "yolo" else "data.toml"))
    assert source.class_names is not None
    return source.class_names, source.read("train", source.class_names)


def test_labels_are_what_the_detector_finds_and_train_a_network(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = Detector.load(weights, precision="float32")
    for layout in ("voc", "coco", "yolo"):
        output = tmp_path / layout
        arguments = [str(photos), "--weights", str(weights), "--output", str(output)]
        arguments += ["--format", layout, "--reads", "2", *THRESHOLDS]
        assert label_command(arguments) == 0
        assert f"{PICTURES} pictures, " in capsys.readouterr().out
        names, images = read(output, layout)
        assert names == CLASS_NAMES
        assert len(images) == PICTURES
        image = images[0]
        found = detector.detect(image.image_path, reads=2, score_threshold=0.002)
        sides = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
        wanted = sides.min(1) > 1.05
        difficult = found.scores < 0.005
        assert 0 < difficult.sum() < len(found)
        if layout == "yolo":
            wanted &= ~difficult
        boxes = [from_voc_pixels(np.array(item.box_xyxy)) for item in image.objects]
        np.testing.assert_allclose(boxes, found.boxes_xyxy[wanted], atol=0.02)
        assert [item.class_name for item in image.objects] == [
            name for name, kept in zip(found.names, wanted, strict=True) if kept
        ]
        assert [item.difficult for item in image.objects] == difficult[wanted].tolist()
    settings = ("model.width_multiple=0.125", 'precision="float32"')
    arguments = train_arguments(tmp_path, tmp_path / "run", settings=settings)
    start = arguments.index("--run")
    data = ["--data", str(tmp_path / "yolo" / "data.yaml")]
    assert train_command([*data, *arguments[start:]]) == 0
    assert load_model(tmp_path / "run" / WEIGHTS).config.class_names == CLASS_NAMES


def test_classes_can_be_chosen(photos: Path, weights: Path, tmp_path: Path) -> None:
    arguments = [str(photos), "--weights", str(weights), *THRESHOLDS, "--output"]
    assert label_command([*arguments, str(tmp_path / "all")]) == 0
    assert label_command([*arguments, str(tmp_path / "two"), "--classes", "car,cat"]) == 0
    (_, every), (names, two) = read(tmp_path / "all", "voc"), read(tmp_path / "two", "voc")
    assert names == ("car", "cat")
    for image, other in zip(two, every, strict=True):
        kept = [item for item in other.objects if item.class_name in names]
        assert list(image.objects) == kept
    assert {item.class_name for image in two for item in image.objects} == set(names)


def test_a_teacher_labels_in_vocs_names_or_in_its_own(photos: Path, tmp_path: Path) -> None:
    teacher = write_teacher(tmp_path / "teacher.onnx")
    arguments = [str(photos), "--teacher", str(teacher), "--output"]
    assert label_command([*arguments, str(tmp_path / "voc")]) == 0
    assert label_command([*arguments, str(tmp_path / "all"), "--classes", "all"]) == 0
    (voc, some), (every, more) = read(tmp_path / "voc", "voc"), read(tmp_path / "all", "voc")
    assert (len(voc), len(every)) == (20, 80)
    assert "tvmonitor" in voc
    assert "tv" in every
    boxes = [sum(len(image.objects) for image in images) for images in (some, more)]
    assert 0 < boxes[0] < boxes[1]


def test_mistakes_end_in_a_line_and_write_nothing(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    teacher = write_teacher(tmp_path / "teacher.onnx")
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    ours, theirs = ["--weights", str(weights)], ["--teacher", str(teacher)]
    for paths, more, message in (
        ([photos], [*ours, "--min-score", "0.1"], "--difficult-score must be at most"),
        ([photos], [*ours, "--classes", "nut"], "which the detector does not know; it knows: cat"),
        ([photos], [*theirs, "--reads", "2"], "--reads is of --weights"),
        ([photos], [*ours, "--image-size", "60", "64"], "positive multiples of 32"),
        ([photos / "none"], ours, "names no pictures"),
        ([photos, bad], ours, "damaged picture"),
        ([photos], ["--weights", "none"], "neither a file nor one of the shipped weights"),
    ):
        arguments = [*map(str, paths), *more, "--output", str(output)]
        assert label_command(arguments) == 2, message
        assert message in capsys.readouterr().err
        assert not output.exists()
    assert label_command([str(bad), str(photos), *ours, "--skip-bad", "--output", str(output)]) == 0
    before = sorted(output.rglob("*"))
    assert label_command([str(photos), *ours, "--output", str(output)]) == 2
    assert "holds something already" in capsys.readouterr().err
    assert sorted(output.rglob("*")) == before


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the photographs of ../shared/data")
def test_a_real_teacher_finds_real_aeroplanes(tmp_path: Path) -> None:
    """Against the official boxes, of which there is one a picture."""
    folder = DATA / "VOCdevkit_extra" / "VOC2012"
    arguments = [str(folder / "JPEGImages" / "airplane_000*.jpg"), "--output", str(tmp_path / "o")]
    teacher = DATA / "teacher" / "yolox_nano.onnx"
    assert label_command([*arguments, "--teacher", str(teacher)]) == 0
    names, images = read(tmp_path / "o", "voc")
    truth = {image.image_id: image for image in read_split(folder.parent, "VOC2012:train", names)}
    found = 0
    for image in images:
        (official,) = truth[image.image_id].objects
        boxes = np.array([item.box_xyxy for item in image.objects if not item.difficult])
        overlap = pairwise_iou(boxes.reshape(-1, 4), np.array([official.box_xyxy]))
        found += overlap.max(initial=0) > 0.5
    assert found >= 0.9 * len(images) > 0
