"""The LTC neuron's step as one kernel of Triton, for inference on a CUDA GPU.

Operator by operator the step launches nine kernels a layer and carries every intermediate value
through memory; here each value is read once and written once. Imported on CUDA alone: Triton comes
with CUDA builds of torch only. `ltc_step` is the reference.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.libdevice import exp  # CUDA's own, as torch's sigmoid; `tl.exp` is not

from spyv4.neurons.base import Neuron
from spyv4.neurons.ltc import LTC, LTCState

BLOCK = 1024
"""Neurons of a program: 8 a thread of four warps, in loads of 16 bytes."""
OPTIONS = {"enable_fp_fusion": False, "num_warps": 4}
"""Of the compiler, which would round a product and a sum once instead of twice."""


@triton.jit  # type: ignore[untyped-decorator]
def ltc_kernel(current, mixed, before, spikes, after, threshold, size, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """See `fused_ltc_step`; all in one order of memory, `size` values each."""
    # In 64 bits: a large batch has more neurons than 31 bits can count.
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < size
    kind = current.dtype.element_ty
    c = tl.load(current + place, mask=inside).to(tl.float32)
    m = tl.load(mixed + place, mask=inside).to(tl.float32)
    u = tl.load(before + place, mask=inside).to(tl.float32)
    kappa = tl.math.div_rn(1.0, 1.0 + exp(-m)).to(kind).to(tl.float32)
    difference = (c - u).to(kind).to(tl.float32)
    moved = (kappa * difference).to(kind).to(tl.float32)
    u = (u + moved).to(kind).to(tl.float32)
    # Not `u > threshold`, since the plain step rounds the distance; and a product where a choice
    # would do, since the plain step makes NaN of an infinite potential that spikes.
    spike = ((u - threshold).to(kind).to(tl.float32) > 0.0).to(tl.float32)
    tl.store(spikes + place, spike.to(kind), mask=inside)
    tl.store(after + place, ((1.0 - spike) * u).to(kind), mask=inside)


def fused_ltc_step(
    current: Tensor, mixed: Tensor, state: LTCState, threshold: float
) -> tuple[Tensor, LTCState]:
    """One read of LTC neurons in one kernel; has no gradient.

        kappa_t = sigmoid(m_t)
        u'_t = u_{t-1} + kappa_t (c_t - u_{t-1})
        s_t = 1 if u'_t > theta else 0;  u_t = (1 - s_t) u'_t

    Each operation is computed in float32 and rounded to the type of the tensors, none is contracted
    with the next, and the exponential is CUDA's own: so the result is that of `ltc_step` operator
    by operator on a GPU, where torch does not round theta to the type either (on the CPU it does).
    What may differ: values too small to be normal may be taken for zero.

    Args:
        current: input current c_t, any shape; float32, bfloat16 or float16, on a CUDA GPU.
        mixed: m_t, of the same shape and type, from which the rate is computed.
        state: potentials after the read before, of the same shape and type.
        threshold: theta.

    Returns:
        Spikes in {0, 1} and the new state, in the order of memory of `mixed`.
    """
    spikes = torch.empty_like(mixed)  # dense, whatever `mixed` is a view of
    after = torch.empty_like(spikes)
    size = spikes.numel()
    inputs = [_ordered(tensor, spikes) for tensor in (current, mixed, state.u)]
    with torch.cuda.device(spikes.get_device()):  # or Triton launches on the current one
        ltc_kernel[(triton.cdiv(size, BLOCK),)](
            *inputs, spikes, after, threshold, size, block=BLOCK, **OPTIONS
        )
    return spikes, LTCState(after)


def _ordered(tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor, in the order of memory of a dense one."""
    strides = zip(tensor.shape, tensor.stride(), like.stride(), strict=True)
    if all(own == wanted for side, own, wanted in strides if side > 1):
        return tensor
    return torch.empty_like(like).copy_(tensor)


class FusedLTC(Neuron):
    """The LTC neurons of a convolutional layer, whose step after the mixing is one kernel.

    Args:
        neuron: whose parameters it shares.
    """

    state_type = LTCState

    def __init__(self, neuron: LTC) -> None:
        super().__init__(neuron.size, neuron.config, "conv")
        self.rate = neuron.rate

    def read(self, current: Tensor, state: LTCState) -> tuple[Tensor, LTCState]:
        """One read; see `fused_ltc_step`."""
        mixed = self.rate.mixed(current, state.u)
        return fused_ltc_step(current, mixed, state, self.config.threshold)
