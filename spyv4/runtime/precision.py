"""Which precision is the faster one here: measured, since a processor's flags do not tell.

A Xeon with `avx512_bf16` but without AMX convolves bfloat16 more slowly than float32; a Zen 4 with
the same flag twice as fast.
"""

import copy
import time

import torch

from spyv4.network.spyv4 import SPYv4

ROUNDS = 3
CLEAR_GAIN = 0.9
"""bfloat16 must take at most this share of float32's time: near a tie the exact one is better."""


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor or GPU has instructions for bfloat16, fast or not."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16") or features.get("bf16"))


def faster_precision(model: SPYv4, device: torch.device) -> torch.dtype:
    """bfloat16 where a few reads in it are clearly faster than in float32, else float32.

    Takes about as long as eight reads; no time where there are no instructions for bfloat16.

    Args:
        model: folded and in float32, on `device`; it stays as it is.
        device: where the network runs.
    """
    if not has_bfloat16(device):
        return torch.float32
    models = {torch.float32: model, torch.bfloat16: copy.deepcopy(model).to(torch.bfloat16)}
    best_s = dict.fromkeys(models, float("inf"))
    for round_number in range(ROUNDS + 1):
        for dtype, candidate in models.items():
            taken_s = read_time_s(candidate, dtype, device)
            if round_number > 0:  # the first prepares memory and kernels
                best_s[dtype] = min(best_s[dtype], taken_s)
    gained = best_s[torch.bfloat16] < CLEAR_GAIN * best_s[torch.float32]
    return torch.bfloat16 if gained else torch.float32


@torch.inference_mode()
def read_time_s(model: SPYv4, dtype: torch.dtype, device: torch.device) -> float:
    """Seconds of one read of one grey picture from rest."""
    size = model.config.image_size
    image = torch.full((1, 3, *size), 0.5, dtype=dtype, device=device)
    image = image.to(memory_format=torch.channels_last)
    state = model.initial_state(1, size)
    started = time.perf_counter()
    model.step(image, state)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
