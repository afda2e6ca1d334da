import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.voc_tree import Scene, Thing, write_voc_tree
from training.data import cache as module
from training.data.cache import PictureCache
from training.data.pictures import decode_rgb
from training.errors import DatasetError

SIZE = (90, 120)
ONE = 3 * SIZE[0] * SIZE[1]


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    scenes = [Scene(SIZE, (Thing("cat", (1 + 10 * i, 1, 60, 40)),)) for i in range(3)]
    return sorted(write_voc_tree(tmp_path, scenes).glob("JPEGImages/*.jpg"))


def test_cache_keeps_what_fits_and_decodes_the_rest(paths: list[Path]) -> None:
    cache = PictureCache(paths, [SIZE] * 3, 512, 2 * ONE + 5)
    expected = [decode_rgb(path, SIZE) for path in paths]
    cache.fill()
    cache.fill()
    assert all(np.array_equal(cache[i], expected[i]) for i in range(3))
    assert cache[1] is cache[1]
    assert cache[2] is not cache[2]


def test_large_pictures_are_shrunk(paths: list[Path]) -> None:
    cache = PictureCache(paths, [SIZE] * 3, 60, 2**20)
    cache.fill()
    assert cache[0].shape == (45, 60, 3)
    averaged = decode_rgb(paths[0], SIZE).reshape(45, 2, 60, 2, 3).mean((1, 3))
    np.testing.assert_allclose(cache[0], averaged, atol=1)


def test_size_must_agree_with_the_annotation(paths: list[Path]) -> None:
    cache = PictureCache(paths, [(120, 90)] * 3, 512, 2**20)
    with pytest.raises(DatasetError, match=r"000000\.jpg has 120 x 90 pixels, .* says 90 x 120"):
        cache.fill()


def test_what_memory_is_too_small_for_lies_in_a_file_without_a_name(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    cache = PictureCache(paths, [SIZE] * 3, 512, ONE, folder)
    expected = [decode_rgb(path, SIZE) for path in paths]
    cache.fill()
    monkeypatch.setattr(module, "decode_rgb", lambda *_: pytest.fail("decoded again"))
    cache.fill()
    assert all(np.array_equal(cache[i], expected[i]) for i in range(3))
    assert list(folder.iterdir()) == []


def test_too_little_room_is_said_before_anything_is_decoded(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(3 * ONE - 1))
    monkeypatch.setattr(module, "decode_rgb", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DatasetError, match=r"0\.0 GiB are free; use --cache ram, or off"):
        PictureCache(paths, [SIZE] * 3, 512, 0, tmp_path).fill()
