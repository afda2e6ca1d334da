"""What is remembered of a network belongs to all that its speed depends on."""

import os

import pytest
import torch

from spyv4.runtime import cache

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def key(weights="a", size=(64, 64)):
    return cache.entry_key(weights, size, CPU)


def test_another_network_size_machine_thread_count_or_source_is_another_entry(monkeypatch) -> None:
    keys = {key(), key("b"), key(size=(64, 96))}
    monkeypatch.setattr(cache, "most_threads", lambda: 17)
    keys.add(key())
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "another"})
    keys.add(key())
    monkeypatch.setattr(cache, "_source_sha256", lambda: "changed")
    keys.add(key())
    assert len(keys) == 6
    assert key() == key()


def test_what_was_remembered_is_recalled_until_it_is_forgotten() -> None:
    assert cache.recall("k") is None
    cache.remember("k", {"read_ms": {}})
    cache.package_folder("k", "int8").mkdir(parents=True)
    cache.package_folder("other", "int8").mkdir()
    assert cache.recall("k") == {"read_ms": {}}
    cache.forget("k")
    assert cache.recall("k") is None
    assert [folder.name for folder in cache.packages_folder().iterdir()] == ["other-int8"]


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_what_is_damaged_is_not_recalled(text) -> None:
    cache.remember("k", {})
    (cache.cache_folder() / "choices" / "k.json").write_text(text, encoding="latin-1")
    assert cache.recall("k") is None


def test_the_packages_that_were_used_longest_ago_go() -> None:
    for number in range(cache.KEPT_PACKAGES + 3):
        folder = cache.package_folder(str(number), "int8")
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    os.utime(cache.package_folder("0", "int8"))  # was used just now
    cache.prune_packages()
    left = {folder.name for folder in cache.packages_folder().iterdir()}
    assert len(left) == cache.KEPT_PACKAGES
    assert "0-int8" in left
    assert "1-int8" not in left
