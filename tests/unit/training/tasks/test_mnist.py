"""MNIST's files, and pictures as sequences."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.task_data import digits, write_idx, write_mnist
from training.errors import DatasetError
from training.tasks import mnist
from training.tasks.mnist import (
    DIGITS,
    Pictures,
    PictureSequences,
    open_mnist,
    permutation,
    read_idx,
)


def pictures(count: int = 20) -> Pictures:
    images, labels = digits(count)
    return Pictures(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))


def fresh() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_standard_split_is_taken_where_it_is_there(tmp_path: Path, suffix: str) -> None:
    data = open_mnist(write_mnist(tmp_path, train=30, test=20, suffix=suffix), "static", 3, DIGITS)
    assert (len(data.train), len(data.test)) == (30, 20)
    assert data.split == "standard: 30 training and 20 test pictures"
    images, labels = digits(30, seed=len("train"))
    read = data.train.read(torch.tensor([7]), fresh())
    assert read.shape == (3, 1, 1, 28, 28)
    assert (read[2, 0, 0] * 255).round().byte().equal(torch.from_numpy(images[7]))
    assert data.train.labels.tolist() == labels.tolist()


def test_test_pictures_alone_are_divided_and_it_is_said(tmp_path: Path) -> None:
    data = open_mnist(write_mnist(tmp_path, test=20), "static", 1, DIGITS)
    assert (len(data.train), len(data.test)) == (16, 4)
    assert data.split.startswith("not standard")
    assert data.test.labels.tolist() == [4, 9, 4, 9]  # every fifth of 0, 1, .. 9, 0, 1, ..
    both = torch.cat((data.train.labels, data.test.labels))
    assert both.bincount().tolist() == [2] * 10


def test_pixels_come_one_by_one_in_order() -> None:
    sequences = PictureSequences(pictures(), "pixels")
    read = sequences.read(torch.tensor([3, 5]), fresh())
    assert (sequences.steps, sequences.shape, read.shape) == (784, (1,), (784, 2, 1))
    expected = pictures().images[5].flatten().float() / 255
    torch.testing.assert_close(read[:, 1, 0], expected)


def test_the_permutation_is_one_fixed_order(monkeypatch: pytest.MonkeyPatch) -> None:
    order = permutation()
    assert sorted(order.tolist()) == list(range(784))
    plain = PictureSequences(pictures(), "pixels").read(torch.tensor([3]), fresh())
    shuffled = PictureSequences(pictures(), "permuted").read(torch.tensor([3]), fresh())
    assert not shuffled.equal(plain)
    assert shuffled.equal(plain[order])
    monkeypatch.setattr(mnist, "PERMUTATION_SEED", 785)
    with pytest.raises(DatasetError, match="another permutation from the seed 785"):
        permutation()


def test_poisson_trains_have_the_pixels_rates() -> None:
    sequences = PictureSequences(pictures(), "poisson", 400)
    chosen = torch.tensor([4])
    read = sequences.read(chosen, fresh())
    assert set(read.unique().tolist()) == {0.0, 1.0}
    rates, expected = read.mean(0)[0, 0], pictures().images[4].float() / 255
    assert (rates - expected).abs().max() < 0.15
    assert (rates - expected).mean().abs() < 0.005
    assert read.equal(sequences.read(chosen, fresh()))
    assert not read.equal(sequences.read(chosen, torch.Generator().manual_seed(1)))


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no t10k-images-idx3-ubyte\.gz; put the four"):
        open_mnist(tmp_path, "static", 1, DIGITS)
    write_mnist(tmp_path, train=10, test=10)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DatasetError, match=r"has no train-labels-idx1-ubyte\.gz"):
        open_mnist(tmp_path, "static", 1, DIGITS)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no IDX file"),
        (b"\0\0\x08\x03" + bytes(12), "is damaged: .* 0 found"),
        (b"\0\0\x0d\x03" + bytes(12), "is no IDX file of bytes"),
        (b"\0\0\x08\x01" + bytes(12), "in 3 dimensions"),
        (b"\0\0\x08\x03" + np.array([2, 2, 2], ">u4").tobytes() + bytes(7), "7 found"),
        (b"\0\0\x08\x03" + np.array([2, 2, 2], ">u4").tobytes() + bytes(9), "9 found"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    for path, stored in ((tmp_path / "a", data), (tmp_path / "a.gz", gzip.compress(data))):
        path.write_bytes(stored)
        with pytest.raises(DatasetError, match=words):
            read_idx(path, 3)


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    write_idx(path, np.ones((2, 2, 2), np.uint8))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match="cannot be read"):
        read_idx(path, 3)


def test_labels_fit_their_pictures(tmp_path: Path) -> None:
    write_mnist(tmp_path, test=10)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.zeros(9, np.uint8))
    with pytest.raises(DatasetError, match="as many labels from 0 to 9 as pictures"):
        open_mnist(tmp_path, "static", 1, DIGITS)
