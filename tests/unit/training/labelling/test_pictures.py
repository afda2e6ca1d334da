"""The pictures that are labelled: found, checked, named."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from spyv4.errors import ArgumentError
from training.errors import DatasetError
from training.labelling.pictures import check_pictures, find_pictures


def picture(path: Path, orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    return path


def test_files_folders_and_patterns_name_each_picture_once(tmp_path: Path) -> None:
    a, b = picture(tmp_path / "in/a.jpg"), picture(tmp_path / "in/deep [1]/b.PNG")
    c = picture(tmp_path / "odd.dat.jpg").rename(tmp_path / "odd.dat")
    (tmp_path / "in/notes.txt").write_text("no picture")
    picture(tmp_path / "in/.hidden.jpg")
    assert find_pictures([str(tmp_path / "in")]) == [a, b]
    assert find_pictures([str(b.parent)]) == [b]
    assert find_pictures([str(c), str(tmp_path / "in/*"), str(a)]) == [c, a]
    assert find_pictures([str(tmp_path / "**/*.jpg")]) == [a]
    for nothing in ("none", "none/*.jpg", "in/*.txt"):
        with pytest.raises(ArgumentError, match="names no pictures"):
            find_pictures([str(tmp_path / nothing)])


def test_names_are_fit_for_files_and_differ(tmp_path: Path) -> None:
    names = ("a/my cat.jpg", "b/my cat.jpg", "b/my_cat.png", "b/..x.jpg", "b/Ölbild (2).v1.jpg")
    images = check_pictures([picture(tmp_path / name) for name in names], skip_bad=False)
    assert [image.image_id for image in images] == [
        *("my_cat", "my_cat-2", "my_cat-3", "_x", "Ölbild_(2).v1"),
    ]
    assert {image.size for image in images} == {(30, 40)}


def test_bad_pictures_are_named_or_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = picture(tmp_path / "good.jpg")
    cut = picture(tmp_path / "cut.jpg")
    cut.write_bytes(cut.read_bytes()[:-30])
    turned = picture(tmp_path / "turned.jpg", orientation=6)
    paths = [cut, good, turned]
    with pytest.raises(DatasetError, match=r"damaged picture .*cut.jpg.*\(2 of 3 pictures"):
        check_pictures(paths, skip_bad=False)
    with caplog.at_level(logging.WARNING):
        (image,) = check_pictures(paths, skip_bad=True)
    assert image.image_path == good
    assert [r.getMessage().split(":")[0] for r in caplog.records] == ["left out"] * 2
    assert "turned.jpg is to be shown turned" in caplog.text
    with pytest.raises(DatasetError, match="all 2 pictures are bad"):
        check_pictures([cut, turned], skip_bad=True)
