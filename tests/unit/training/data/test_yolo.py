import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.layouts import write_yolo
from tests.helpers.voc_tree import CLASS_NAMES, Scene, write_voc_tree
from training.data import AnnotatedImage, read_split
from training.data.yolo import read_yolo
from training.errors import DatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pictures of 120 x 90 with a cat, `bad` and `good`."""
    write_voc_tree(tmp_path / "voc", {"bad": Scene(), "good": Scene()})
    images = read_split(tmp_path / "voc", "VOC2012:train", CLASS_NAMES)
    write_yolo(images, tmp_path / "yolo", CLASS_NAMES)
    return tmp_path / "yolo"


def read(source: Path, **options: bool) -> list[AnnotatedImage]:
    return read_yolo([source], CLASS_NAMES, **options)


def label(root: Path, text: str) -> list[AnnotatedImage]:
    """Read with `text` as the labels of the picture `bad`."""
    (root / "labels/train/bad.txt").write_text(text)
    return read(root / "images")


def boxes(image: AnnotatedImage) -> np.ndarray:
    return np.array([item.box_xyxy for item in image.objects])


def test_shares_become_inclusive_pixels(root: Path) -> None:
    bad, good = label(root, "\n1 0.5 0.5 1 1\n  3.0\t0.25 0.5 0.1 0.2 \n\n")
    assert [item.class_name for item in bad.objects] == ["dog", "car"]
    np.testing.assert_allclose(boxes(bad), [[1, 1, 120, 90], [25, 37, 36, 54]], atol=1e-9)
    np.testing.assert_allclose(boxes(good), [[21, 11, 80, 70]], atol=1e-9)
    assert all(type(value) is float for value in bad.objects[0].box_xyxy)
    assert not any(item.difficult for item in bad.objects)


def test_boxes_may_reach_over_the_border(root: Path) -> None:
    bad, _ = label(root, "0 0.05 0.5 0.2 1.005\n")
    np.testing.assert_allclose(boxes(bad)[0, 0], 1 - 0.05 * 120)


def test_a_polygon_is_its_box(root: Path) -> None:
    bad, _ = label(root, "0 0.1 0.2 0.5 0.3 0.3 0.9\n1 0.5 0.5 0.5 0.5\n")
    assert [item.class_name for item in bad.objects] == ["cat", "dog"]
    np.testing.assert_allclose(boxes(bad)[0], [13, 19, 60, 81])


def test_a_picture_without_labels_has_no_objects(root: Path) -> None:
    (root / "labels/train/bad.txt").unlink()
    (root / "labels/train/good.txt").write_text("")
    assert [image.objects for image in read(root / "images")] == [(), ()]


def test_a_mark_at_the_start_of_a_text_is_no_content(root: Path) -> None:
    bad, _ = label(root, "\ufeff0 0.5 0.5 1 1\n")
    assert len(bad.objects) == 1


UNKNOWN = {
    "4 0.5 0.5 0.2 0.2": r"line 2: class 4 is none of the 4, 0\.\.3",
    "-1 0.5 0.5 0.2 0.2": r"line 2: class -1 is none",
    "0.5 0.5 0.5 0.2 0.2": r"line 2: class 0\.5 is none",
}
BAD = {
    "0 0.5 0.5 0 0.2": r"line 2: width and height must be above 0 and at most 1, not 0 and 0\.2",
    "0 0.5 0.5 0.2 -0.1": r"line 2: width and height .* not 0\.2 and -0\.1",
    "0 60 45 100 80": r"line 2: width and height .* not 100 and 80",
    "0 1.1 0.5 0.2 0.2": r"line 2: the centre must be in the picture, 0\.\.1, not at 1\.1, 0\.5",
    "0 0.5 -0.1 0.2 0.2": r"line 2: the centre must be",
    "0 0.5 0.5 0.2": r"line 2: must have 5 columns .*, not 4",
    "0 0.5 0.5 0.2 0.2 0.9": r"line 2: must have 5 columns .*, not 6",
    "0 0.1 0.2 0.5 0.3 0.3 0.9 0.1": r"line 2: must have 5 columns .*, not 8",
    "cat 0.5 0.5 0.2 0.2": r"line 2: 'cat' must be a number",
    "0 0.5 nan 0.2 0.2": r"line 2: 'nan' must be a number",
}


@pytest.mark.parametrize("row", BAD)
def test_a_bad_line_is_named_or_skipped(
    root: Path, row: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DatasetError, match=r"labels/train/bad\.txt, " + BAD[row]) as caught:
        label(root, f"0 0.5 0.5 1 1\n{row}\n")
    assert "--skip-bad" in str(caught.value)
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        assert [image.image_id for image in read(root / "images", skip_bad=True)] == ["good"]
    assert "left out 1 of 2 pictures" in caplog.text
    assert "bad.txt, line 2" in caplog.text


@pytest.mark.parametrize("row", UNKNOWN)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_an_unknown_class_is_never_skipped(root: Path, row: str, skip_bad: bool) -> None:
    (root / "labels/train/bad.txt").write_text(f"0 0.5 0.5 1 1\n{row}\n")
    with pytest.raises(DatasetError, match=r"labels/train/bad\.txt, " + UNKNOWN[row]):
        read(root / "images", skip_bad=skip_bad)


def test_labels_of_another_encoding_are_named(root: Path) -> None:
    (root / "labels/train/bad.txt").write_bytes(b"0 0.5 0.5 1 1 caf\xe9\n")
    with pytest.raises(DatasetError, match=r"bad\.txt is not UTF-8 text"):
        read(root / "images")


@pytest.mark.parametrize("need_images", [True, False])
def test_a_damaged_picture_is_named_or_skipped(
    root: Path, need_images: bool, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "images/train/bad.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"damaged picture .*bad\.jpg.*--skip-bad"):
        read(root / "images", need_images=need_images)
    assert len(read(root / "images", need_images=need_images, skip_bad=True)) == 1
    assert "left out 1 of 2 pictures" in caplog.text


def test_a_truncated_picture_is_named_where_pictures_are_needed(root: Path) -> None:
    path = root / "images/train/bad.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"truncated picture .*bad\.jpg"):
        read(root / "images")
    assert len(read(root / "images", need_images=False)) == 2


def test_damage_in_the_middle_is_found_to_be_skipped(root: Path) -> None:
    """A PNG cut short, whose last bytes are those of a complete JPEG."""
    path = root / "images/train/bad.jpg"
    Image.open(path).save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:-60] + b"\xff\xd9")
    assert len(read(root / "images")) == 2
    assert [image.image_id for image in read(root / "images", skip_bad=True)] == ["good"]


@pytest.mark.parametrize("orientation", [0, 1, 6])
def test_a_picture_that_is_shown_turned_is_refused(root: Path, orientation: int) -> None:
    path = root / "images/train/bad.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif)
    if orientation < 2:
        assert len(read(root / "images")) == 2
    else:
        with pytest.raises(DatasetError, match=r"bad\.jpg is to be shown turned .*--skip-bad"):
            read(root / "images")


class TestSources:
    def test_a_folder_is_searched_and_sorted(self, root: Path) -> None:
        """Hidden files, which macOS leaves, are no pictures."""
        (root / "images/another").mkdir()
        Image.new("RGB", (5, 5)).save(root / "images/another/z.PNG")
        (root / "images/train/._bad.jpg").write_bytes(b"")
        (root / "images/train/.cache").mkdir()
        (root / "images/train/.cache/bad.jpg").write_bytes(b"")
        (root / "images/train/notes.txt").write_text("")
        assert [image.image_id for image in read(root / "images")] == ["z", "bad", "good"]

    def test_a_list_keeps_its_order(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A path is seen from here, or from the list if it starts with `./` or is not here."""
        monkeypatch.chdir(root.parent)
        shutil.copytree("yolo/images", "images")
        (root / "train.txt").write_text("./images/train/good.jpg\n\nyolo/images/train/bad.jpg\n")
        images = read(root / "train.txt")
        assert [(image.image_id, len(image.objects)) for image in images] == [
            ("good", 1),
            ("bad", 1),
        ]
        (root / "train.txt").write_text(f"images/train/good.jpg\n{root}/images/train/bad.jpg")
        assert [image.image_id for image in read(root / "train.txt")] == ["good", "bad"]

    def test_a_missing_picture_on_a_list_is_named(self, root: Path) -> None:
        (root / "train.txt").write_text("images/train/none.jpg\n")
        with pytest.raises(DatasetError, match=r"missing .*picture .*none\.jpg"):
            read(root / "train.txt")

    def test_the_last_folder_of_images_is_the_one_with_labels(self, tmp_path: Path) -> None:
        for name in ("images/a/images/b", "images/a/labels/b"):
            (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (10, 10)).save(tmp_path / "images/a/images/b/x.y.png")
        (tmp_path / "images/a/labels/b/x.y.txt").write_text("0 0.5 0.5 1 1\n")
        (image,) = read(tmp_path / "images")
        assert len(image.objects) == 1

    def test_labels_lie_beside_pictures_outside_of_images(self, tmp_path: Path) -> None:
        Image.new("RGB", (10, 10)).save(tmp_path / "x.png")
        (tmp_path / "x.txt").write_text("0 0.5 0.5 1 1\n")
        (image,) = read(tmp_path)
        assert len(image.objects) == 1

    def test_names_that_come_twice_are_told_apart(self, tmp_path: Path) -> None:
        for name in ("a/x.png", "b/x.png"):
            (tmp_path / name).parent.mkdir()
            Image.new("RGB", (10, 10)).save(tmp_path / name)
        assert [image.image_id for image in read(tmp_path)] == ["a/x.png", "b/x.png"]

    def test_no_pictures_are_an_error(self, root: Path) -> None:
        with pytest.raises(
            DatasetError, match=r"no pictures found in .*labels; they end in \.avif"
        ):
            read(root / "labels")
        (root / "train.txt").write_text("\n")
        with pytest.raises(DatasetError, match=r"no pictures found in .*train\.txt"):
            read(root / "train.txt")
