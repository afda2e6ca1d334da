import json
from pathlib import Path

import pytest

from spyv4.errors import ArgumentError
from tests.helpers.layouts import write_coco, write_yolo
from tests.helpers.voc_tree import CLASS_NAMES, Scene, Thing, write_voc_tree
from training.data import open_source, read_split
from training.data.data_file import DataFile, read_data_file
from training.errors import DatasetError

NAMES = "names: [cat, dog, bus, car]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pictures in all three layouts."""
    write_voc_tree(tmp_path / "voc", {"a": Scene(), "b": Scene()})
    images = read_split(tmp_path / "voc", "VOC2012:train", CLASS_NAMES)
    write_yolo(images, tmp_path, CLASS_NAMES)
    write_coco(images, tmp_path / "instances.json", CLASS_NAMES)
    return tmp_path


def load(root: Path, text: str, name: str = "some.yaml") -> DataFile:
    (root / name).write_text(text, encoding="utf-8")
    return read_data_file(root / name)


def ids(data: DataFile, name: str = "train") -> list[str]:
    return [image.image_id for image in data.read(name, data.class_names or CLASS_NAMES)]


class TestLayouts:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("voc.toml", 'voc_root = "voc"\ntrain = "VOC2012:train"\n'),
            ("voc.yaml", "path: .\nvoc_root: voc\ntrain: [VOC2012:train]\n"),
        ],
    )
    def test_voc(self, root: Path, name: str, text: str) -> None:
        data = load(root, text, name)
        assert data.class_names is None
        assert ids(data) == ["a", "b"]

    def test_voc_with_classes(self, root: Path) -> None:
        data = load(root, "voc_root: voc\ntrain: VOC2012:train\nclasses: [x]\n")
        assert data.class_names == ("x",)
        with pytest.raises(DatasetError, match=r"a\.xml has an object of class 'cat'"):
            data.read("train", ["x", "cat"])

    def test_voc_sets_may_be_a_list(self, root: Path) -> None:
        write_voc_tree(root / "voc", {"c": Scene()}, split="val")
        text = "voc_root: voc\ntrain: [VOC2012:train, VOC2012:val]\nval: VOC2012:val\n"
        assert ids(load(root, text)) == ["a", "b", "c"]
        assert ids(load(root, text), "val") == ["c"]

    def test_coco(self, root: Path) -> None:
        text = "{images: voc/VOC2012/JPEGImages, annotations: instances.json}\n"
        data = load(root, f"train: {text}val: [{text.strip()}]\n")
        assert data.class_names == CLASS_NAMES
        assert ids(data) == ids(data, "val") == ["a", "b"]
        classes = [*CLASS_NAMES[::-1], "boat"]
        assert load(root, f"train: {text}classes: {classes}\n").class_names == tuple(classes)

    @pytest.mark.parametrize(
        "classes",
        [
            "names: [cat, dog, bus, car]",
            "nc: 4\nnames: [cat, dog, bus, car]",
            "names: {1: dog, 0: cat, 3: car, 2: bus}",
            "classes: [cat, dog, bus, car]",
        ],
    )
    def test_yolo_names(self, root: Path, classes: str) -> None:
        data = load(root, f"train: images/train\n{classes}\n")
        assert data.class_names == CLASS_NAMES
        (a, _) = data.read("train", CLASS_NAMES)
        assert [item.class_name for item in a.objects] == ["cat"]

    def test_yolo_names_may_be_digits_or_left_to_a_count(self, root: Path) -> None:
        assert load(root, "train: images\nnames: [7, 8]\n").class_names == ("7", "8")
        assert load(root, "train: images\nnc: 2\n").class_names == ("class_0", "class_1")

    def test_yolo_sets_may_be_lists(self, root: Path) -> None:
        (root / "train.txt").write_text("./images/train/b.jpg\n")
        data = load(root, f"train: [train.txt, images/train]\nval: train.txt\n{NAMES}")
        assert len(data.read("train", CLASS_NAMES)) == 3
        assert ids(data, "val") == ["b"]

    def test_other_keys_of_ultralytics_say_nothing(self, root: Path) -> None:
        more = "test:\ndownload: |\n  print(1)\nroboflow: {url: x, on: 2024-01-01}\nchannels: 3\n"
        data = load(root, f"train: images\nvalidation: images\n{NAMES}{more}")
        assert ids(data, "val") == ["a", "b"]


class TestPlaces:
    def test_without_path_all_starts_at_the_file(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir("/")
        assert ids(load(root, f"train: images/train\n{NAMES}")) == ["a", "b"]

    def test_a_step_up_too_many_is_forgiven(self, root: Path) -> None:
        assert ids(load(root, f"train: ../images/train\n{NAMES}")) == ["a", "b"]

    def test_path_is_seen_from_here_and_then_from_the_file(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / "deep/images/train").mkdir(parents=True)
        text = f"path: deep\ntrain: images/train\n{NAMES}"
        with pytest.raises(DatasetError, match=r"no pictures found in .*deep/images/train"):
            ids(load(root, text))
        (root / "here/deep").mkdir(parents=True)
        (root / "here/deep/images").symlink_to(root / "images")
        monkeypatch.chdir(root / "here")
        assert ids(load(root, text)) == ["a", "b"]

    def test_an_absolute_path(self, root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        assert ids(load(elsewhere, f"path: {root}\ntrain: images\n{NAMES}")) == ["a", "b"]

    def test_only_the_set_that_is_read_need_be_there(self, root: Path) -> None:
        data = load(root, f"train: images\nval: nowhere\n{NAMES}")
        assert ids(data) == ["a", "b"]
        with pytest.raises(DatasetError, match=r"some\.yaml: no such file or folder: .*/nowhere;"):
            ids(data, "val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"trian: images\n{NAMES}", "unknown key 'trian'; did you mean 'train'"),
        (f"train: images\n{NAMES}qwertz: 1\n", "unknown key 'qwertz'; known are train, val"),
        ("train: {images: a, annotation: b}\n", "did you mean 'train.0.annotations'"),
        (f"val: images\n{NAMES}", "has no train"),
        (f"train:\n{NAMES}", "has no train"),
        (f"train: []\n{NAMES}", "train must have at least 1 item"),
        ("train: images\n", "is of no known layout; it needs voc_root"),
        (f"train: 5\n{NAMES}", "train.0 must be a valid string, not 5"),
        ("train: VOC2012:train\nvoc_root: [a]\n", "voc_root must be a valid string"),
        ("train: images\nnames: [cat, dog, cat]\n", "class 'cat' comes twice"),
        ("train: images\nnames: []\n", "classes must have at least 1 item"),
        ("train: images\nnames: [yes, no]\n", "classes.0 must be a valid string, not True"),
        ("train: images\nnames: {0: cat, 2: dog}\n", "numbered from 0 without gaps, not 0, 2"),
        ("train: images\nnames: [cat, dog]\nnc: 3\n", "nc is 3, but there are 2 names"),
        (f"train: images\n{NAMES}classes: [a]\n", "has both names and classes; keep one"),
        ("train: [a\nnames: b\n", ", line 2: not valid YAML"),
        ("train: !!python/object/apply:os.getcwd []\n", ", line 1: not valid YAML"),
        ("train: 2024-99-99\n", "is not valid TOML or YAML"),
        ("train: &a [*a]\n", "is not valid TOML or YAML"),
        ("train: \x01\n", "is not valid TOML or YAML (unacceptable character"),
        (f"val: ''\ntrain: ''\n{NAMES}", "has no train"),
        ("- train\n", "must hold keys such as train and val"),
        ("", "must hold keys such as train and val, not None"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(root: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        load(root, text)
    assert str(caught.value).startswith(f"{root / 'some.yaml'}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_toml_and_other_endings_are_told(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"some\.toml is not valid TOML .*line 2"):
        load(root, 'train = "a"\nnames = \n', "some.toml")
    with pytest.raises(DatasetError, match=r"some\.json must be a \.toml or \.yaml file"):
        load(root, "{}", "some.json")
    (root / "some.yaml").write_bytes(b"train: caf\xe9\n")
    with pytest.raises(DatasetError, match=r"some\.yaml is not valid .*utf-8"):
        read_data_file(root / "some.yaml")


def test_categories_of_one_name_are_refused(root: Path) -> None:
    content = json.loads((root / "instances.json").read_text())
    content["categories"][1]["name"] = "cat"
    (root / "instances.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"class 'cat' comes twice"):
        load(root, "train: {images: voc, annotations: instances.json}\n")


def test_a_set_that_the_file_lacks_is_told(root: Path) -> None:
    data = load(root, f"train: images\ntest: images\n{NAMES}")
    for name in ("val", "classes", "VOC2007:test"):
        with pytest.raises(DatasetError, match=rf"has no set '{name}'; it has: train, test"):
            data.read(name, CLASS_NAMES)


def test_a_source_is_one_of_two() -> None:
    with pytest.raises(ArgumentError, match="voc_root, or data"):
        open_source(None, None)


def test_classes_that_the_network_lacks_are_told(root: Path) -> None:
    data = load(root, f"train: images\n{NAMES}")
    with pytest.raises(DatasetError, match=r"the class 'bus' \(2 in all\) .*it knows: dog, cat"):
        data.read("train", ["dog", "cat"])
    assert len(data.read("train", ["boat", *CLASS_NAMES[::-1]])) == 2


@pytest.mark.parametrize(
    ("things", "message"),
    [
        ((Thing("cat", (1, 1, 9, 9), difficult=True),), "; all 1 are difficult"),
        ((), "VOC2012:val has nothing to find: none of its 1 pictures has an object"),
        ((Thing("cat", (1, 1, 9, 9), difficult=True), Thing("cat", (1, 1, 9, 9))), ""),
    ],
)
def test_nothing_to_find_is_a_warning(
    root: Path, things: tuple[Thing, ...], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_voc_tree(root / "voc", {"c": Scene(things=things)}, split="val")
    open_source(root / "voc", None).read("VOC2012:val", CLASS_NAMES)
    assert message in caplog.text
    assert bool(message) == bool(caplog.text)
