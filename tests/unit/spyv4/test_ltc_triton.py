"""The fused step of LTC neurons: by Triton's interpreter, and compiled for GPUs that are not here.

The interpreter shows the arithmetic and the places in memory, the compiler's output the roundings.
"""

import importlib.util
import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import spyv4.neurons
from spyv4.config import NeuronConfig
from spyv4.neurons import LTC, build_neuron
from spyv4.neurons.ltc import LTCState, ltc_step
from spyv4.runtime import fused as runtime_fused
from tests.helpers.tiny_model import pictures, same, tiny_model

pytest.importorskip("triton", reason="Triton is not installed")

DTYPES = torch.float32, torch.bfloat16, torch.float16
THRESHOLD = 0.375  # which every type has exactly


@pytest.fixture
def fused() -> Iterator[ModuleType]:
    """A copy of the module whose kernel is interpreted."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder

    path = Path(spyv4.neurons.__file__).parent / "ltc_triton.py"
    spec = importlib.util.spec_from_file_location("ltc_interpreted", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    cast = InterpreterBuilder.cast_impl

    def rounding(self: Any, source: Any, kind: Any) -> Any:
        """To the nearest bfloat16, as GPUs do; the interpreter cuts."""
        if (source.dtype.scalar, kind.scalar) != (tl.float32, tl.bfloat16):
            return cast(self, source, kind)
        nearest = torch.from_numpy(np.ascontiguousarray(source.data)).to(torch.bfloat16)
        return type(source)(nearest.view(torch.uint16).numpy(), kind.scalar)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        spec.loader.exec_module(module)
        # It knows no CUDA library; nor is anything patched that was taken from `tl` before it runs.
        patch.setattr(module, "exp", lambda x: tl.exp(x))  # noqa: PLW0108
        patch.setattr(InterpreterBuilder, "cast_impl", rounding)
        with np.errstate(over="ignore", invalid="ignore"):
            yield module


def numbers(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
    """Current, mixed and potential."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).mul(2).to(dtype) for _ in range(3)]


@torch.no_grad()
def plain(current: Tensor, mixed: Tensor, u: Tensor, threshold: float) -> Any:
    """By `ltc_step`, with the rate by numpy, whose exponential the interpreter takes, too."""
    with np.errstate(over="ignore"):
        rate = 1 / (1 + np.exp(-mixed.float().numpy()))
    config = replace(NeuronConfig(), threshold=threshold)
    return ltc_step(current, torch.from_numpy(rate).to(mixed.dtype), LTCState(u), config)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (2, 5), (2, 3, 4, 5), (1, 8, 33, 31), (3, 16, 13, 13)])
def test_the_fused_step_is_the_plain_one_to_the_last_bit(fused, shape, dtype) -> None:
    current, mixed, u = numbers(shape, dtype)
    if len(shape) == 4:
        current, mixed, u = (
            each.to(memory_format=torch.channels_last) for each in (current, mixed, u)
        )
    spikes, after = fused.fused_ltc_step(current, mixed, LTCState(u), THRESHOLD)
    expected, wanted = plain(current, mixed, u, THRESHOLD)
    assert same((spikes, after), (expected, wanted))
    assert spikes.dtype == after.u.dtype == dtype
    assert spikes.stride() == after.u.stride() == mixed.stride()
    if spikes.numel() > 1000:
        assert 0.1 < spikes.float().mean() < 0.9
    # Whose rate is torch's own: only rounding is between them.
    close = torch.sigmoid(mixed), 1 / (1 + torch.exp(-mixed.float()))
    torch.testing.assert_close(close[0].float(), close[1], atol=2e-3, rtol=0.01)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_at_and_around_the_threshold(fused, dtype) -> None:
    """With kappa = 1 the potential is the current: the threshold's neighbours, and odd ones."""
    for threshold in (THRESHOLD, 0.5, 1.0, 96.0):
        near = torch.tensor(threshold, dtype=torch.float64).to(dtype)
        below, above = (torch.nextafter(near, near + sign) for sign in (-1, 1))
        odd = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-6, -1e-6]
        current = torch.cat((torch.stack((below, near, above)), torch.tensor(odd).to(dtype)))
        mixed = torch.full_like(current, 100.0)
        u = torch.zeros_like(current)
        spikes, after = fused.fused_ltc_step(current, mixed, LTCState(u), threshold)
        expected, wanted = plain(current, mixed, u, threshold)
        torch.testing.assert_close(spikes, expected, rtol=0, atol=0)
        torch.testing.assert_close(after.u, wanted.u, rtol=0, atol=0, equal_nan=True)
        assert spikes[:4].tolist() == [0, 0, 1, 0]
        assert after.u[3].isnan()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_threshold_that_the_type_lacks_is_not_rounded_to_it(fused, dtype) -> None:
    """As torch has it on GPUs; on the CPU torch rounds it first."""
    threshold = 0.3
    near = torch.tensor(threshold).to(dtype)
    current = torch.stack([torch.nextafter(near, near + sign) for sign in (-1, 1)] + [near])
    mixed = torch.full_like(current, 100.0)
    state = LTCState(torch.zeros_like(current))
    spikes, _ = fused.fused_ltc_step(current, mixed, state, threshold)
    assert spikes.tolist() == [0, 1, float(near.float() > np.float32(threshold))]


@pytest.mark.parametrize("place", range(3))
def test_nan_in_any_input_stays_where_it_is(fused, place) -> None:
    given = numbers((2, 9), torch.float32)
    given[place][1, 4] = float("nan")
    spikes, after = fused.fused_ltc_step(given[0], given[1], LTCState(given[2]), THRESHOLD)
    expected, wanted = plain(*given, THRESHOLD)
    assert after.u.isnan().nonzero().tolist() == [[1, 4]]
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(after.u, wanted.u, rtol=0, atol=0, equal_nan=True)


def test_any_order_in_memory_is_read_right(fused) -> None:
    """Views, other orders and sides of 1, whose strides mean nothing; nothing given is changed."""
    given = numbers((2, 6, 4, 5), torch.float32)
    expected = plain(*given, THRESHOLD)
    orders = (
        lambda x: x.contiguous(),
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: torch.cat((x, x), dim=1)[:, :6],
        lambda x: torch.stack((x, x), dim=-1)[..., 1],
    )
    for order in itertools.product(orders, repeat=3):
        current, mixed, u = (put(tensor) for put, tensor in zip(order, given, strict=True))
        before = [tensor.clone() for tensor in (current, mixed, u)]
        found = fused.fused_ltc_step(current, mixed, LTCState(u), THRESHOLD)
        assert same(found, expected)
        assert same((current, mixed, u), before)
    like = torch.empty(1, 4, 3, 1)
    same_place = torch.empty(12).as_strided(like.shape, (99, 3, 1, 7))
    assert fused._ordered(same_place, like) is same_place  # nothing to copy
    one = [tensor[:1, :, :1] for tensor in given]
    found = fused.fused_ltc_step(one[0], one[1], LTCState(one[2]), THRESHOLD)
    assert same(found, plain(*one, THRESHOLD))


@torch.no_grad()
def test_fused_neurons_are_the_plain_ones(fused) -> None:
    torch.manual_seed(0)
    neuron = build_neuron(3, NeuronConfig(kind="ltc"), "conv").eval()
    assert isinstance(neuron, LTC)
    single = fused.FusedLTC(neuron)
    assert same(list(single.parameters()), list(neuron.parameters()))
    current = torch.rand(2, 3, 4, 5) * 2
    states = [neuron.initial_state(current.shape, like=current) for _ in range(2)]
    total = 0.0
    for _ in range(4):
        spikes, states[0] = neuron(current, states[0])
        found, states[1] = single(current, states[1])
        assert torch.equal(spikes, found)
        torch.testing.assert_close(states[0].u, states[1].u, rtol=1e-6, atol=1e-6)
        total += float(spikes.sum())
    assert total > 0


@torch.no_grad()
def test_a_network_with_fused_neurons_is_the_plain_one(fused, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "spyv4.neurons.ltc_triton", fused)
    monkeypatch.setattr(runtime_fused, "has_triton", lambda device: True)
    plain, single = tiny_model().fold(), tiny_model().fold()
    assert runtime_fused.fuse_neurons(single, torch.device("cuda"))
    assert all(isinstance(layer.neuron, fused.FusedLTC) for layer in single.spiking.values())
    images = pictures(2)
    state = plain.initial_state(2, (64, 64))
    for _ in range(3):
        maps, after = plain.step(images, state)
        found, after_found = single.step(images, state)
        for one, other in zip(
            tree_leaves((maps, after)), tree_leaves((found, after_found)), strict=True
        ):
            # Exponentials differ in their last bits here, which may make a spike or not.
            assert ((one - other).abs() > 1e-4).float().mean() < 1e-3
        state = after


@pytest.mark.parametrize("capability", [80, 90], ids=["A100", "H100"])
@pytest.mark.parametrize("kind", ["fp32", "bf16", "fp16"])
def test_it_compiles_for_gpus_without_contracting_operations(kind, capability, tmp_path) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from spyv4.neurons.ltc_triton import BLOCK, OPTIONS, ltc_kernel

    signature = dict.fromkeys(("current", "mixed", "before", "spikes", "after"), f"*{kind}")
    signature |= {"threshold": "fp32", "size": "i32", "block": "constexpr"}
    source = ASTSource(ltc_kernel, signature, constexprs={"block": BLOCK})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path))
        built = triton.compile(
            source,
            target=GPUTarget("cuda", capability, 32),
            options=dict(OPTIONS),
        )
    assert built.asm["cubin"]
    assembly = built.asm["ptx"]
    # Those with `ftz` are the exponential's own; elsewhere in float32 each operation rounds.
    assert not re.findall(r"fma\.rn\.f32", assembly)
    assert "div.rn.f32" in assembly
    if kind != "fp32":
        suffix = {"bf16": "bf16", "fp16": "f16"}[kind]
        assert re.search(rf"cvt\.rn\.{suffix}(x2)?\.f32", assembly)
