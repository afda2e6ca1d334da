import itertools
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tqdm.std
from PIL import Image

from tests.helpers.voc_tree import Scene, Thing, write_voc_tree
from training.data.pictures import check_picture, decode_rgb, map_in_threads
from training.errors import DatasetError

SIZE = (90, 120)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    scenes = [Scene(SIZE, (Thing("cat", (1 + 10 * i, 1, 60, 40)),)) for i in range(3)]
    return sorted(write_voc_tree(tmp_path, scenes).glob("JPEGImages/*.jpg"))


def test_decodes_rgb(paths: list[Path]) -> None:
    picture = decode_rgb(paths[0], SIZE)
    assert picture.shape == (*SIZE, 3)
    assert picture.dtype == np.uint8
    assert picture[10, 10].tolist() == pytest.approx([255, 0, 0], abs=8)


def test_grey_and_rotated_pictures_come_as_stored(tmp_path: Path) -> None:
    path = tmp_path / "grey.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    Image.new("L", (40, 20), 77).save(path, exif=exif)
    assert np.array_equal(decode_rgb(path, (20, 40)), np.full((20, 40, 3), 77))


@pytest.mark.parametrize("share", [0.3, 0.9, 0.995])
def test_truncation_is_found(paths: list[Path], share: float) -> None:
    data = paths[0].read_bytes()
    paths[0].write_bytes(data[: int(len(data) * share)])
    for attempt in (decode_rgb, check_picture):
        with pytest.raises(DatasetError, match=r"truncated picture .*000000\.jpg.*--skip-bad"):
            attempt(paths[0], SIZE)


def test_padding_after_the_end_is_no_damage(paths: list[Path]) -> None:
    for padding in (b"\0" * 20, b"camera remarks" * 10):
        paths[1].write_bytes(paths[0].read_bytes() + padding)
        check_picture(paths[1], SIZE)


def test_damage_between_intact_ends_is_found_when_thorough(paths: list[Path]) -> None:
    data = paths[0].read_bytes()
    paths[0].write_bytes(data[:200] + bytes(len(data) - 202) + data[-2:])
    check_picture(paths[0], SIZE)
    with pytest.raises(DatasetError, match="damaged"):
        check_picture(paths[0], SIZE, thorough=True)


def test_a_hole_in_the_middle_is_found(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(skimage.data.chelsea()).save(path, quality=90)
    data = bytearray(path.read_bytes())
    whole = decode_rgb(path)
    with Image.open(path) as picture:
        assert np.array_equal(whole, np.asarray(picture))
    middle = len(data) // 2
    data[middle : middle + len(data) // 10] = bytes(len(data) // 10)
    path.write_bytes(data)
    with Image.open(path) as picture:
        picture.load()  # Pillow sees nothing
    with pytest.raises(DatasetError, match=r"damaged .*photo.jpg"):
        decode_rgb(path)


def test_progress_is_shown_after_two_seconds_in_a_file_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    list(map_in_threads(str, range(9), "decoding pictures"))
    assert "decoding" not in capsys.readouterr().err
    clock = itertools.count(0.0, 3.0)
    monkeypatch.setattr(tqdm.std, "time", lambda: next(clock))
    assert list(map_in_threads(str, range(9), "decoding pictures")) == [str(i) for i in range(9)]
    shown = capsys.readouterr().err
    assert "decoding pictures" in shown
    assert 1 <= shown.count("/9 ") < 9  # not at every item
