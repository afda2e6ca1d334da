"""One read in training."""

import pytest
import torch

from spyv4.network.spyv4 import SPYv4
from tests.helpers.tiny_model import tiny_config
from training.read import Read


@pytest.mark.parametrize("through_state", [True, False])
def test_the_state_carries_a_gradient_only_if_asked_to(*, through_state: bool) -> None:
    torch.manual_seed(0)
    model = SPYv4(tiny_config())
    read = Read(model, torch.float32, compile_step=False, through_state=through_state)
    images = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    seen, state = read(images, read.at_rest(images.shape))
    assert all(each.requires_grad for each in seen.maps)
    states = [layer.u.requires_grad for layer in state.layers.values()]
    assert states == [through_state] * len(states)
