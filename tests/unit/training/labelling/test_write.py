"""What is written is read back: boxes, classes, difficult, in all layouts."""

import json
import shutil
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.choices import LAYOUTS
from training.data import AnnotatedImage, open_source, read_split
from training.data.voc import from_voc_pixels
from training.evaluate.predictions import predictions_of_rows
from training.labelling.labels import LabelledPicture, labelled
from training.labelling.write import write_labelled

NAMES = ("cat", 'say "cheese" & <smile>', "dog")
SIZES = ((90, 120), (37, 1000), (61, 61))  # (height, width)
MIN_SCORE = 0.5
CLOSE_PX = 0.011


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[AnnotatedImage]:
    """Two JPEGs and a PNG."""
    folder = tmp_path_factory.mktemp("photos")
    images = []
    for index, (height, width) in enumerate(SIZES):
        path = folder / f"p.{index}.{'png' if index == 1 else 'jpg'}"
        Image.new("RGB", (width, height), (index, 9, 9)).save(path)
        images.append(AnnotatedImage(path.stem, path, (height, width), ()))
    return images


@st.composite
def found(draw: st.DrawFn) -> list[tuple[int, int, list[float], float]]:
    """Up to eight boxes anywhere, of any size and score, as a detector may find them."""
    rows = []
    for _ in range(draw(st.integers(0, 8))):
        image = draw(st.integers(0, len(SIZES) - 1))
        height, width = SIZES[image]
        x0, x1 = sorted(draw(st.floats(0, width, width=32)) for _ in range(2))
        y0, y1 = sorted(draw(st.floats(0, height, width=32)) for _ in range(2))
        score = draw(st.floats(0.125, 1, width=32))
        rows.append((image, draw(st.integers(0, len(NAMES) - 1)), [x0, y0, x1, y1], score))
    return rows


def assert_reads_back(
    pictures: Sequence[LabelledPicture], read: Sequence[AnnotatedImage], layout: str
) -> None:
    assert [image.image_id for image in read] == [picture.name for picture in pictures]
    for image, picture in zip(read, pictures, strict=True):
        assert image.size == picture.size
        assert image.image_path.read_bytes() == picture.path.read_bytes()
        labels = [item for item in picture.labels if layout != "yolo" or not item.difficult]
        assert [(item.class_name, item.difficult) for item in image.objects] == [
            (label.class_name, label.difficult) for label in labels
        ]
        for item, label in zip(image.objects, labels, strict=True):
            box = from_voc_pixels(np.array(item.box_xyxy))
            np.testing.assert_allclose(box, label.box_xyxy, rtol=0, atol=CLOSE_PX)


@given(rows=found())
@settings(deadline=None, max_examples=25)
def test_boxes_are_read_back_as_written(
    images: list[AnnotatedImage], rows: list[tuple[int, int, list[float], float]]
) -> None:
    pictures = labelled(images, predictions_of_rows(rows), NAMES, MIN_SCORE)
    kept = sum(len(picture.labels) for picture in pictures)
    thin = sum(min(x1 - x0, y1 - y0) < 1.02 for _, _, (x0, y0, x1, y1), _ in rows)
    assert len(rows) - thin <= kept <= len(rows)
    for layout in LAYOUTS:
        with tempfile.TemporaryDirectory() as folder:
            file = write_labelled(pictures, Path(folder) / "new", NAMES, layout)
            source = open_source(None, file)
            assert source.class_names == NAMES
            assert_reads_back(pictures, source.read("train", NAMES), layout)
            if layout == "voc":
                assert read_split(file.parent, "VOC2012:train", NAMES) == source.read(
                    "train", NAMES
                )


def one_of_each(images: list[AnnotatedImage]) -> list[LabelledPicture]:
    """An object and something difficult on the first picture; nothing on the others."""
    rows = [(0, 0, [10.0, 20.0, 30.5, 60.0], 0.75), (0, 2, [1.0, 2.0, 3.0, 4.0], 0.25)]
    return labelled(images, predictions_of_rows(rows), NAMES, MIN_SCORE)


def test_scores_and_marks_are_kept_where_there_is_room(
    images: list[AnnotatedImage], tmp_path: Path
) -> None:
    for layout in LAYOUTS:
        write_labelled(one_of_each(images), tmp_path / layout, NAMES, layout)
    root = ET.parse(tmp_path / "voc/VOC2012/Annotations/p.0.xml").getroot()
    assert [node.findtext("score") for node in root.iter("object")] == ["0.7500", "0.2500"]
    assert [node.findtext("difficult") for node in root.iter("object")] == ["0", "1"]
    content = json.loads((tmp_path / "coco/instances.json").read_text())
    assert [(a["score"], a["iscrowd"]) for a in content["annotations"]] == [(0.75, 0), (0.25, 1)]
    assert content["annotations"][0]["bbox"] == [10.0, 20.0, 20.5, 40.0]
    lines = (tmp_path / "yolo/labels/train/p.0.txt").read_text().splitlines()
    assert lines == ["0 0.168750 0.444444 0.170833 0.444444"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_are_linked_or_copied(
    images: list[AnnotatedImage], tmp_path: Path, layout: str
) -> None:
    pictures = one_of_each(images)
    for copy in (False, True):
        file = write_labelled(pictures, tmp_path / str(copy), NAMES, layout, copy=copy)
        read = open_source(None, file).read("train", NAMES)
        assert all(image.image_path.is_symlink() is not copy for image in read)
    moved = shutil.move(tmp_path / "False", tmp_path / "moved")
    read = open_source(None, Path(moved) / file.name).read("train", NAMES)
    assert len(read) == len(SIZES)
