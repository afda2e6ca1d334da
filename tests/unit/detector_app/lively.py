"""A tiny untrained detector that spikes and finds things, if not the right ones."""

import torch

from spyv4 import Detector
from tests.helpers.tiny_model import tiny_model


def lively_detector(**changes: object) -> Detector:
    model = tiny_model(reads=3, **changes)
    with torch.no_grad():
        for head in model.heads:
            head.bias.zero_()
    return Detector.from_model(model)
