import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from spyv4 import SPYv4, shipped_weights, weights
from spyv4.checkpoint import FORMAT, load_model, save_model, store_score_threshold
from spyv4.errors import CheckpointError
from spyv4.files import file_sha256, write_atomically
from spyv4.runtime.int8 import rate_steps
from spyv4.validation import to_mapping
from spyv4.weights import find_weights, load_weights
from tests.helpers.tiny_model import tiny_model, wide_model


@pytest.fixture
def model() -> SPYv4:
    return tiny_model()


@pytest.fixture
def path(model: SPYv4, tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "model.safetensors"
    save_model(model, path)
    return path


def parts(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and header."""
    with safe_open(path, framework="pt") as file:
        return safetensors.torch.load_file(path), file.metadata()


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("changes", [{}, {"readout": "leaky", "neuron": {"kind": "adaptive-ltc"}}])
def test_what_was_saved_comes_back(tmp_path: Path, folded: bool, changes: dict[str, Any]) -> None:
    model = tiny_model(**changes)
    if folded:
        model.fold()
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    loaded = load_model(path, sha256=file_sha256(path))
    assert loaded.config == model.config
    assert loaded.folded == folded
    assert not loaded.training
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for one, other in zip(model.run(images, 3)[0], loaded.run(images, 3)[0], strict=True):
            assert torch.equal(one, other)
    assert parts(path)[1]["format"] == FORMAT


def test_state_and_counters_are_not_saved(path: Path) -> None:
    names = [name.split(".")[-1] for name in parts(path)[0]]
    assert set(names) == {"weight", "bias", "running_mean", "running_var"}


def test_half_precision_weights_load_as_float32(model: SPYv4, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_model(model.bfloat16(), path)
    assert {p.dtype for p in load_model(path).parameters()} == {torch.float32}


def test_kernels_alone_are_halved(path: Path, model: SPYv4) -> None:
    half = path.with_name("half.safetensors")
    save_model(model, half, half_kernels=True)
    stored = parts(half)[0]
    loaded = load_model(half).state_dict()
    for name, value in load_model(path).state_dict().items():
        kernel = value.ndim > 1
        if name in stored:  # batch norm's counters are not
            assert stored[name].dtype == (torch.float16 if kernel else torch.float32)
        assert torch.equal(loaded[name], value.half().float() if kernel else value), name


def test_a_stored_threshold_changes_no_more_than_itself(path: Path, model: SPYv4) -> None:
    save_model(model, path, {"of": "a run"}, half_kernels=True)
    tensors, header = parts(path)
    store_score_threshold(path, 0.25)
    after, changed = parts(path)
    config = json.loads(header.pop("config")) | {"score_threshold": 0.25}
    assert json.loads(changed.pop("config")) == config
    assert changed == header
    assert after.keys() == tensors.keys()
    for name, value in tensors.items():
        assert after[name].dtype == value.dtype, name
        assert torch.equal(after[name], value), name


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nothing\.safetensors"):
        load_model(tmp_path / "nothing.safetensors")


def test_every_cut_and_garbage_are_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is not a readable SPYv4 checkpoint"):
            load_model(path)
    path.write_bytes(b"hello" * 100)
    with pytest.raises(CheckpointError, match=str(path)):
        load_model(path)


def test_other_bytes_than_the_checksum_says_are_refused(path: Path) -> None:
    checksum = file_sha256(path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="is damaged: its sha256"):
        load_model(path, sha256=checksum)


def test_folded_files_keep_what_8_bits_need(tmp_path: Path) -> None:
    model, path = wide_model(), tmp_path / "folded.safetensors"
    save_model(model.fold(), path)
    assert rate_steps(load_model(path)) == rate_steps(model)
    tensors, header = parts(path)  # as 0.1.0 wrote them: 8 thresholds for all layers
    rest = {name: value for name, value in tensors.items() if not name.endswith(".spread")}
    assert len(rest) < len(tensors)
    safetensors.torch.save_file(rest, path, header)
    assert set(rate_steps(load_model(path)).values()) == {1 / 16}


Change = Callable[[dict[str, torch.Tensor], dict[str, str]], object]


def set_config(header: dict[str, str], **changes: Any) -> None:
    header["config"] = json.dumps(json.loads(header["config"]) | changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, h: t.pop("heads.0.bias"), "1 tensors differ, heads.0.bias"),
        (lambda t, h: t.update(extra=torch.zeros(2)), "1 tensors differ, extra"),
        (
            lambda t, h: t.update({"heads.0.bias": torch.zeros(3)}),
            "1 tensors differ, heads.0.bias",
        ),
        (
            lambda t, h: t["layers.stem1.synapse.conv.weight"].view(-1)[5].fill_(float("nan")),
            "finite",
        ),
        (lambda t, h: t["heads.1.bias"].fill_(float("inf")), "finite, in heads.1.bias"),
        (lambda t, h: h.pop("format"), "is not a SPYv4 checkpoint"),
        (lambda t, h: h.update(format="spyv9"), "is not a SPYv4 checkpoint"),
        (lambda t, h: h.pop("config"), "config"),
        (lambda t, h: h.update(config="{"), "is not a readable"),
        (lambda t, h: h.update(config="[1]"), "must be a table"),
        (lambda t, h: set_config(h, widht=2), "did you mean|unknown configuration key"),
        (lambda t, h: set_config(h, reads=0), "reads must be at least 1"),
        (lambda t, h: set_config(h, width_multiple=0.25), "tensors differ"),
        (lambda t, h: set_config(h, width_multiple=1e4), "tensors differ"),
        (lambda t, h: h.update(folded="True"), "tensors differ"),
    ],
)
def test_file_that_does_not_fit_is_refused(path: Path, change: Change, message: str) -> None:
    tensors, header = parts(path)
    change(tensors, header)
    safetensors.torch.save_file(tensors, path, header)
    with pytest.raises(CheckpointError, match=message):
        load_model(path)


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="is not a SPYv4 checkpoint"):
        load_model(path)


def full_disk(*arguments: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "place", ["spyv4.checkpoint.save_file", "os.fsync", "pathlib.Path.replace"]
)
def test_failed_save_keeps_the_earlier_file(
    model: SPYv4, path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(place, full_disk)
        with pytest.raises(CheckpointError, match=r"cannot write .*No space left"):
            save_model(tiny_model(seed=1), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    save_model(tiny_model(seed=1), path)
    assert path.read_bytes() != before


def test_folder_that_cannot_be_made_is_said(model: SPYv4, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write"):
        save_model(model, tmp_path / "file" / "model.safetensors")


def test_half_written_file_never_takes_the_place(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("old")

    def half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: SPYv4) -> Path:
    """A folder of shipped weights with two networks; the second is the default."""
    for name in ("one", "two"):
        save_model(model, tmp_path / f"{name}.safetensors")
    listed = {
        name: {
            "file": f"{name}.safetensors",
            "sha256": file_sha256(tmp_path / f"{name}.safetensors"),
        }
        for name in ("one", "two")
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"default": "two", "weights": listed}))
    monkeypatch.setattr(weights, "_folder", lambda: tmp_path)
    return tmp_path


def test_shipped_weights_are_found_by_name(manifest: Path) -> None:
    assert shipped_weights() == ("two", "one")
    assert find_weights() == manifest / "two.safetensors"
    assert find_weights("one") == manifest / "one.safetensors"
    assert find_weights(manifest / "one.safetensors") == manifest / "one.safetensors"
    assert to_mapping(load_weights("one").config)["name"] == "tiny"
    with pytest.raises(CheckpointError, match=r"three is neither a file nor one of .*: one, two"):
        find_weights("three")


@pytest.mark.parametrize("by_name", [True, False])
def test_shipped_weights_are_compared_with_their_checksum(manifest: Path, by_name: bool) -> None:
    file = manifest / "one.safetensors"
    tensors, header = parts(file)
    safetensors.torch.save_file(tensors, file, header | {"note": "changed"})
    with pytest.raises(CheckpointError, match="sha256"):
        load_weights("one" if by_name else file)


def test_missing_list_of_weights_is_said(manifest: Path) -> None:
    (manifest / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="list of shipped weights"):
        shipped_weights()
