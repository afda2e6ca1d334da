import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.layouts import write_coco
from tests.helpers.voc_tree import CLASS_NAMES, Scene, Thing, write_voc_tree
from training.data import AnnotatedImage, ObjectAnnotation, read_split
from training.data.coco import category_names, read_coco
from training.errors import DatasetError

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two pictures of 120 x 90, `bad` with a cat, `good` with a cat and a difficult dog."""
    things = (Thing("cat", (21, 11, 80, 70)), Thing("dog", (1, 1, 9, 9), difficult=True))
    write_voc_tree(tmp_path, {"bad": Scene(), "good": Scene(things=things)})
    images = read_split(tmp_path, "VOC2012:train", CLASS_NAMES)
    return write_coco(images, tmp_path / "instances.json", CLASS_NAMES)


def read(file: Path, change: Change = bool, **options: bool) -> list[AnnotatedImage]:
    """Read after a change of the file's content."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    folder = file.parent / "VOC2012/JPEGImages"
    return read_coco([(folder, file)], CLASS_NAMES, **options)


def changed(key: str, index: int, **values: Any) -> Change:
    return lambda content: content[key][index].update(values)


def test_boxes_become_inclusive_pixels_and_crowds_difficult(file: Path) -> None:
    bad, good = read(file, changed("annotations", 0, bbox=[20.5, 10, 60, 60.25]))
    assert bad.objects == (ObjectAnnotation("cat", (21.5, 11, 80.5, 70.25), difficult=False),)
    assert good.objects[1] == ObjectAnnotation("dog", (1, 1, 9, 9), difficult=True)
    assert (bad.image_id, bad.size) == ("bad", (90, 120))


def test_categories_are_in_the_order_of_the_file(file: Path) -> None:
    assert category_names(file) == CLASS_NAMES
    read(file, lambda content: content["categories"].reverse())
    assert category_names(file) == CLASS_NAMES[::-1]


def test_pictures_without_annotations_have_no_objects(file: Path) -> None:
    images = read(file, lambda content: content["annotations"].clear())
    assert [image.objects for image in images] == [(), ()]


def test_several_files_follow_each_other(file: Path) -> None:
    read(file)
    source = (file.parent / "VOC2012/JPEGImages", file)
    images = read_coco([source, source], CLASS_NAMES, need_images=False)
    assert len(images) == 4
    assert images[0].objects == images[2].objects


SKIPPED = {
    "negative size": (
        changed("annotations", 0, bbox=[20, 10, -5, 60]),
        r"annotations\[0\]: the box has a negative size, -5 x 60",
    ),
    "centre outside": (
        changed("annotations", 0, bbox=[80, 10, 90, 60]),
        r"annotations\[0\]: the box \[80, 10, 90, 60\] has its centre outside the 120 x 90",
    ),
    "three numbers": (changed("annotations", 0, bbox=[1, 2, 3]), r"\[0\]: bbox must be four"),
    "no number": (changed("annotations", 0, bbox=[1, 2, "3", 4]), r"\[0\]: bbox must be four"),
    "not finite": (changed("annotations", 0, bbox=[1, 2, 3, 1e999]), r"\[0\]: bbox must be four"),
    "no box": (changed("annotations", 0, bbox=None), r"\[0\]: bbox must be four .* not None"),
    "no height": (changed("images", 0, height=None), r"images\[0\]: height must be a whole number"),
    "no picture": (changed("images", 0, file_name="none.jpg"), r"missing picture .*none\.jpg"),
    "another size": (changed("images", 0, width=99), r"bad\.jpg has 120 x 90 pixels, but .* 99"),
}


@pytest.mark.parametrize("what", SKIPPED)
def test_damage_is_named_or_skipped(
    file: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, message = SKIPPED[what]
    with pytest.raises(DatasetError, match=message) as caught:
        read(file, change)
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        assert [image.image_id for image in read(file, skip_bad=True)] == ["good"]
    assert "left out 1 of 2 pictures" in caplog.text


def test_damage_in_the_middle_is_found_to_be_skipped(file: Path) -> None:
    """A PNG cut short, whose last bytes are those of a complete JPEG."""
    path = file.parent / "VOC2012/JPEGImages/bad.jpg"
    Image.open(path).save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:-60] + b"\xff\xd9")
    assert len(read(file)) == 2
    assert [image.image_id for image in read(file, skip_bad=True)] == ["good"]


def test_pictures_are_not_needed_on_request(file: Path) -> None:
    (file.parent / "VOC2012/JPEGImages/bad.jpg").unlink()
    assert len(read(file, need_images=False)) == 2


def test_an_annotation_of_no_picture_is_named_or_skipped(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DatasetError, match=r"annotations\[1\] is of image 77, .*--skip-bad"):
        read(file, changed("annotations", 1, image_id=77))
    bad, good = read(file, skip_bad=True)
    assert (len(bad.objects), len(good.objects)) == (1, 1)
    assert "left out 1 of 3 annotations" in caplog.text


def test_boxes_without_extent_are_left_out_with_a_warning(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad, _ = read(file, changed("annotations", 0, bbox=[20, 10, 0.0, 60]))
    assert bad.objects == ()
    assert "left out 1 of 3 annotations" in caplog.text
    assert "annotations[0]: the box has no extent" in caplog.text


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            changed("annotations", 0, category_id=99),
            r"annotations\[0\]: category 99 is not among the categories",
        ),
        (changed("categories", 0, name="lion"), r"category 'lion' is not among the classes"),
    ],
)
def test_an_unknown_class_is_never_skipped(
    file: Path, change: Change, message: str, skip_bad: bool
) -> None:
    with pytest.raises(DatasetError, match=message):
        read(file, change, skip_bad=skip_bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("images"), r"instances\.json has no list of images"),
        (
            lambda content: content.update(images=[], annotations=[]),
            r"no pictures found in .*instances\.json",
        ),
        (changed("images", 1, id=2), r"images\[1\]: id 2 comes twice"),
        (changed("images", 1, id="x"), r"images\[1\]: id must be a whole number, not 'x'"),
        (changed("images", 1, file_name=3), r"images\[1\]: file_name must be text, not 3"),
        (changed("categories", 1, id=5), r"categories\[1\]: id 5 comes twice"),
        (changed("annotations", 1, image_id=None), r"annotations\[1\]: image_id must be a whole"),
        (lambda content: content["images"].append(3), r"images\[2\] must be an object, not 3"),
    ],
)
def test_a_broken_file_is_named(file: Path, change: Change, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(file, change)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"images":\n[1,\n', r"instances\.json, line 3: not JSON"),
        (b"[]", r"instances\.json holds no object"),
        (b"\xff\xfe", r"instances\.json is not JSON"),
        (b"[" * 100_000, r"instances\.json is not JSON"),
    ],
)
def test_what_is_no_instances_file_is_named(file: Path, data: bytes, message: str) -> None:
    file.write_bytes(data)
    with pytest.raises(DatasetError, match=message):
        category_names(file)
