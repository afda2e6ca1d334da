from pathlib import Path

import pytest

from detector_app.detecting.inputs import Input, Targets, find_inputs
from spyv4.errors import ArgumentError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "clip.MP4", "notes.txt", "deep/a.b.jpg", "deep/er/c.webm"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "folder.jpg").mkdir()
    return tmp_path


def test_a_folder_gives_its_pictures_and_clips(folder):
    inputs, problems = find_inputs([folder], recursive=False)
    assert [str(item.name) for item in inputs] == ["a", "b", "clip"]
    assert [item.is_clip for item in inputs] == [False, False, True]
    assert problems == []


def test_folders_in_it_are_opened_on_demand(folder):
    inputs, _ = find_inputs([folder], recursive=True)
    assert {str(item.name) for item in inputs} == {"a", "b", "clip", "deep/a.b", "deep/er/c"}


def test_every_file_comes_once(folder):
    inputs, _ = find_inputs([folder / "b.jpg", folder, folder / "b.jpg"], recursive=False)
    assert [item.path.name for item in inputs] == ["b.jpg", "a.PNG", "clip.MP4"]


def test_a_file_is_taken_whatever_its_suffix(folder):
    (item,), problems = find_inputs([folder / "notes.txt"], recursive=False)
    assert item == Input(folder / "notes.txt", Path("notes"))
    assert problems == []


def test_what_gives_nothing_is_named(folder):
    inputs, problems = find_inputs([folder / "folder.jpg", folder / "x.jpg"], recursive=True)
    assert inputs == []
    assert problems == [
        f"{folder / 'folder.jpg'} holds no pictures or clips",
        f"{folder / 'x.jpg'} does not exist; check the name",
    ]


def test_no_two_outputs_are_in_one_place(tmp_path):
    targets = Targets([tmp_path / "a-2.jpg", tmp_path / "b.jpg"])
    taken = [targets.take(tmp_path / name).name for name in ("a.jpg", "a.jpg", "a.jpg", "b.jpg")]
    assert taken == ["a.jpg", "a-3.jpg", "a-4.jpg", "b-2.jpg"]
    assert targets.take(tmp_path / "c" / "a.jpg") == tmp_path / "c" / "a.jpg"


def test_an_input_by_another_way_is_the_same(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    targets = Targets([tmp_path / "link" / "a.jpg"])
    assert targets.take(tmp_path / "a.jpg").name == "a-2.jpg"


def test_a_file_that_the_user_names_is_had_or_refused(tmp_path):
    targets = Targets([tmp_path / "a.jpg"])
    assert targets.claim(tmp_path / "b.json", "--json") == tmp_path / "b.json"
    with pytest.raises(ArgumentError, match=r"--coco .*b\.json is written to already"):
        targets.claim(tmp_path / "b.json", "--coco")
    with pytest.raises(ArgumentError, match=r"--json .*a\.jpg would overwrite an input"):
        targets.claim(tmp_path / "a.jpg", "--json")


def test_names_are_found_in_linear_time(monkeypatch, tmp_path):
    """A name is looked up twice, whether it is the first of its kind or the thousandth."""
    looks = []
    plain = Path.resolve

    def counted(path, strict=False):
        looks.append(1)
        return plain(path, strict)

    monkeypatch.setattr(Path, "resolve", counted)
    targets = Targets([])
    names = {targets.take(tmp_path / "a.jpg") for _ in range(1000)}
    names |= {targets.take(tmp_path / f"{number}.jpg") for number in range(1000)}
    assert len(names) == 2000
    assert len(looks) <= 2 * 2000
