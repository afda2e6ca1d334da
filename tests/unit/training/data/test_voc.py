import logging
from pathlib import Path

import pytest

from spyv4.config import VOC_CLASSES
from tests.helpers.voc_tree import CLASS_NAMES, Scene, Thing, write_voc_tree
from training.data.voc import AnnotatedImage, ObjectAnnotation, parse_image_sets, read_split
from training.errors import DatasetError

SHARED_DATA = Path(__file__).parents[4].parent / "shared" / "data"


def read(root: Path, image_sets: str = "VOC2012:train", **options: bool) -> list[AnnotatedImage]:
    return read_split(root, image_sets, CLASS_NAMES, **options)


def test_reads_what_was_written(tmp_path: Path) -> None:
    scene = Scene((90, 120), (Thing("cat", (1, 1, 120, 90)), Thing("dog", (3.5, 4, 9, 8.25), True)))
    folder = write_voc_tree(tmp_path, {"a_1": scene, "empty": Scene(things=())})
    assert read(tmp_path) == [
        AnnotatedImage(
            "a_1",
            folder / "JPEGImages" / "a_1.jpg",
            (90, 120),
            (
                ObjectAnnotation("cat", (1, 1, 120, 90), difficult=False),
                ObjectAnnotation("dog", (3.5, 4, 9, 8.25), difficult=True),
            ),
        ),
        AnnotatedImage("empty", folder / "JPEGImages" / "empty.jpg", (90, 120), ()),
    ]


def test_root_may_be_the_parent_of_vocdevkit(tmp_path: Path) -> None:
    write_voc_tree(tmp_path / "VOCdevkit", [Scene()])
    assert read(tmp_path) == read(tmp_path / "VOCdevkit")


def test_several_image_sets_follow_each_other(tmp_path: Path) -> None:
    write_voc_tree(tmp_path, {"a": Scene()}, "VOC2007", "trainval")
    write_voc_tree(tmp_path, {"b": Scene()}, "VOC2012", "trainval")
    images = read(tmp_path, "VOC2007:trainval, VOC2012:trainval")
    assert [image.image_id for image in images] == ["a", "b"]


def test_lists_with_flags_are_read(tmp_path: Path) -> None:
    folder = write_voc_tree(tmp_path, {"a": Scene()})
    (folder / "ImageSets/Main/train.txt").write_text("a  1\n\n")
    assert [image.image_id for image in read(tmp_path)] == ["a"]


def test_pictures_are_not_needed_on_request(tmp_path: Path) -> None:
    folder = write_voc_tree(tmp_path, {"a": Scene()})
    (folder / "JPEGImages/a.jpg").unlink()
    assert len(read(tmp_path, need_images=False)) == 1


def test_parse_image_sets() -> None:
    assert parse_image_sets("VOC2012:train") == (("VOC2012", "train"),)
    expected = (("VOC2007", "trainval"), ("VOC2012", "trainval"))
    assert parse_image_sets("VOC2007:trainval, VOC2012:trainval") == expected


@pytest.mark.parametrize("text", ["", "train", "VOC2012:", ":train", "VOC2012:train,", "a:b:c"])
def test_parse_image_sets_refuses(text: str) -> None:
    with pytest.raises(DatasetError, match="FOLDER:SPLIT"):
        parse_image_sets(text)


class TestMissing:
    def test_root(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"no such folder: .*nowhere"):
            read(tmp_path / "nowhere")

    def test_year(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"no VOC2012 in .*; give the folder"):
            read(tmp_path)
        write_voc_tree(tmp_path, [Scene()])
        with pytest.raises(DatasetError, match=r"no VOC2007 in .*; it holds: VOC2012"):
            read(tmp_path, "VOC2007:train")

    def test_root_is_the_year_itself(self, tmp_path: Path) -> None:
        folder = write_voc_tree(tmp_path, [Scene()])
        with pytest.raises(DatasetError, match=f"a year itself; give {tmp_path}"):
            read(folder)

    def test_image_set_lists_the_available_ones(self, tmp_path: Path) -> None:
        write_voc_tree(tmp_path, [Scene()], split="val")
        write_voc_tree(tmp_path, [Scene()], split="cat_val")
        with pytest.raises(DatasetError, match=r"no image set .*test\.txt; available: val$"):
            read(tmp_path, "VOC2012:test")

    def test_empty_split(self, tmp_path: Path) -> None:
        write_voc_tree(tmp_path, [])
        with pytest.raises(DatasetError, match=r"train\.txt lists no pictures"):
            read(tmp_path)


XML_EDITS = {
    "no width": ("<width>120</width>", ""),
    "no number": ("<xmin>21<", "<xmin>left<"),
    "no encoding": ("<annotation>", '<?xml version="1.0" encoding="foo"?><annotation>'),
    "not finite": ("<xmin>21<", "<xmin>nan<"),
    "no name": ("<name>cat</name>", ""),
    "no extent": ("<xmin>21<", "<xmin>81<"),
    "outside": ("<xmax>80<", "<xmax>121.5<"),
    "before the start": ("<xmin>21<", "<xmin>-0.5<"),
    "another size": ("<width>120<", "<width>100<"),
}


def break_file(folder: Path, what: str) -> None:
    """Damage picture `bad` of a tree."""
    xml, jpeg = folder / "Annotations/bad.xml", folder / "JPEGImages/bad.jpg"
    text, data = xml.read_text(), jpeg.read_bytes()
    if what in XML_EDITS:
        xml.write_text(text.replace(*XML_EDITS[what]))
    elif what == "half an xml":
        xml.write_text(text[:-30])
    elif what.startswith("no "):
        (xml if what == "no xml" else jpeg).unlink()
    else:
        half = data[: len(data) // 2]
        contents = {"half a jpeg": half, "empty jpeg": b"", "text as jpeg": b"no picture"}
        jpeg.write_bytes(contents[what])


PROBLEMS = {
    "no xml": r"missing annotation .*bad\.xml",
    "half an xml": r"broken annotation .*bad\.xml",
    "no width": r"broken annotation .*bad\.xml: <annotation> has no size/width",
    "no number": r"bad\.xml: bndbox/xmin must be a number, not 'left'",
    "not finite": r"bad\.xml: bndbox/xmin must be a number, not 'nan'",
    "no encoding": r"broken annotation .*bad\.xml: unknown encoding",
    "no name": r"bad\.xml: <object> has no name",
    "no extent": r"bad\.xml: the box \(81, 11, 80, 70\) of a cat has no extent",
    "outside": r"bad\.xml: the box \(21, 11, 121\.5, 70\) of a cat lies outside the 120 x 90",
    "before the start": r"bad\.xml: the box \(-0\.5, 11, 80, 70\) of a cat lies outside",
    "another size": r"bad\.jpg has 120 x 90 pixels, but its annotation says 100 x 90",
    "no jpeg": r"missing picture .*bad\.jpg",
    "half a jpeg": r"damaged or truncated picture .*bad\.jpg",
    "empty jpeg": r"damaged or truncated picture .*bad\.jpg",
    "text as jpeg": r"damaged or truncated picture .*bad\.jpg",
}


@pytest.mark.parametrize("what", PROBLEMS)
def test_damage_is_named_or_skipped(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_voc_tree(tmp_path, {"good": Scene(), "bad": Scene()})
    break_file(folder, what)
    with pytest.raises(DatasetError, match=PROBLEMS[what]) as caught:
        read(tmp_path)
    assert "--skip-bad" in str(caught.value)
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        images = read(tmp_path, skip_bad=True)
    assert [image.image_id for image in images] == ["good"]
    assert "left out 1 of 2 pictures of VOC2012:train" in caplog.text
    assert "bad." in caplog.text


def test_one_pixel_over_the_border_is_tolerated(tmp_path: Path) -> None:
    write_voc_tree(tmp_path, [Scene((90, 120), (Thing("cat", (0, 0, 121, 91)),))])
    assert len(read(tmp_path)) == 1


def test_image_set_of_another_encoding_is_named(tmp_path: Path) -> None:
    folder = write_voc_tree(tmp_path, {"good": Scene()})
    (folder / "ImageSets/Main/train.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DatasetError, match=r"train\.txt is not UTF-8 text"):
        read(tmp_path)


def test_all_bad_is_an_error(tmp_path: Path) -> None:
    break_file(write_voc_tree(tmp_path, {"bad": Scene()}), "no xml")
    with pytest.raises(DatasetError, match=r"every picture of VOC2012:train is damaged"):
        read(tmp_path, skip_bad=True)


@pytest.mark.parametrize("skip_bad", [False, True])
def test_unknown_class_is_never_skipped(tmp_path: Path, skip_bad: bool) -> None:
    write_voc_tree(
        tmp_path, {"good": Scene(), "x": Scene(things=(Thing("unicorn", (1, 1, 9, 9)),))}
    )
    with pytest.raises(DatasetError, match=r"x\.xml .*'unicorn'.*class_names"):
        read(tmp_path, skip_bad=skip_bad)


@pytest.mark.data
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="needs the photographs of ../shared/data")
def test_real_split_has_the_published_counts() -> None:
    images = read_split(SHARED_DATA, "VOC2012:val", VOC_CLASSES)
    boxes = sum(not item.difficult for image in images for item in image.objects)
    assert (len(images), boxes) == (678, 2532)
