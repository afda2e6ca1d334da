"""Which precision trains faster here: measured, since a processor's flags do not tell.

On a Xeon with `avx512_bf16` but without AMX, bfloat16 is slower than float32; on a Zen 4 with the
same flag twice as fast.
"""

import time
from typing import Literal

import torch

from spyv4.network.spyv4 import SPYv4
from spyv4.runtime.torch_runtime import has_bfloat16
from training.read import Read

BATCH = 4
"""Pictures that are enough to tell."""
ROUNDS = 3
CLEAR_GAIN = 0.9
"""bfloat16 must take at most this share of float32's time: near a tie the exact one is better."""


def faster_training(model: SPYv4) -> Literal["bfloat16", "float32"]:
    """`bfloat16` where forward and backward passes in it are clearly faster, else `float32`.

    Takes about as long as eight reads of four pictures; no time where there are no instructions
    for bfloat16.

    Args:
        model: in float32, on its device; its batch norm keeps its statistics, and it has no
            gradients afterwards.
    """
    device = next(model.parameters()).device
    if not has_bfloat16(device):
        return "float32"
    reads = {d: Read(model, d, compile_step=False) for d in (torch.float32, torch.bfloat16)}
    best_s = dict.fromkeys(reads, float("inf"))
    training, statistics = model.training, {k: b.clone() for k, b in model.named_buffers()}
    model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for round_number in range(ROUNDS + 1):
            for dtype, read in reads.items():
                taken_s = _step_s(read, model.config.image_size)
                if round_number > 0:  # the first prepares memory and kernels
                    best_s[dtype] = min(best_s[dtype], taken_s)
    model.train(training)
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(statistics[name])
    gained = best_s[torch.bfloat16] < CLEAR_GAIN * best_s[torch.float32]
    return "bfloat16" if gained else "float32"


def _step_s(read: Read, image_size: tuple[int, int]) -> float:
    """Seconds of one read of grey pictures from rest, forward and backward."""
    images = torch.full((BATCH, 3, *image_size), 128, dtype=torch.uint8, device=read.device)
    images = images.to(memory_format=torch.channels_last)
    started = time.perf_counter()
    seen, _ = read(images, read.at_rest(images.shape))
    torch.stack([each.float().sum() for each in seen.maps]).sum().backward()  # type: ignore[no-untyped-call]
    if read.device.type == "cuda":
        torch.cuda.synchronize(read.device)
    return time.perf_counter() - started
