"""Neurons against traces stepped by hand from the equations."""

import math

import pytest
import torch
from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.neurons.adaptive_ltc import AdaptiveLTCState, adaptive_ltc_step
from spyv4.neurons.ltc import LTCState, ltc_step
from spyv4.neurons.surrogate import spike

NEURON = NeuronConfig()


def cell(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def trace(currents: list[float], rate: float, start: float = 0.0) -> tuple[list[float], list[int]]:
    """Potentials after the reset, and spikes."""
    state = LTCState(cell(start))
    potentials, spikes = [], []
    for current in currents:
        spike_now, state = ltc_step(cell(current), cell(rate), state, NEURON)
        potentials.append(state.u.item())
        spikes.append(int(spike_now.item()))
    return potentials, spikes


def test_constant_current_charges_spikes_and_resets() -> None:
    # u' = u + 0.5 (1.5 - u): 0.75; 1.125 spikes; from zero again 0.75; 1.125; ...
    potentials, spikes = trace([1.5] * 6, rate=0.5)
    assert potentials == [0.75, 0.0, 0.75, 0.0, 0.75, 0.0]
    assert spikes == [0, 1, 0, 1, 0, 1]


def test_slow_neuron_needs_five_reads() -> None:
    # u' = 0.75 u + 0.25 * 1.25: 0.3125, 0.546875, 0.72265625, 0.8544921875, 0.953369140625,
    # 1.02752685546875 spikes, and from zero again 0.3125.
    potentials, spikes = trace([1.25] * 7, rate=0.25)
    assert potentials == [
        0.3125,
        0.546875,
        0.72265625,
        0.8544921875,
        0.953369140625,
        0.0,
        0.3125,
    ]
    assert spikes == [0, 0, 0, 0, 0, 1, 0]


def test_changing_current_leaks_and_goes_below_zero() -> None:
    # 0.5 -> 0.25; 1.0 -> 0.625; -2.0 -> -0.6875; 4.0 -> 1.65625 spikes; 0.8 -> 0.4.
    potentials, spikes = trace([0.5, 1.0, -2.0, 4.0, 0.8], rate=0.5)
    assert potentials == pytest.approx([0.25, 0.625, -0.6875, 0.0, 0.4])
    assert spikes == [0, 0, 0, 1, 0]


def test_potential_at_the_threshold_does_not_spike() -> None:
    # u' = 0 + 0.5 * 2 = 1.0 exactly, and theta is 1.0.
    potentials, spikes = trace([2.0], rate=0.5)
    assert (potentials, spikes) == ([1.0], [0])
    assert trace([2.0000001], rate=0.5) == ([0.0], [1])


def test_threshold_is_the_configured_one() -> None:
    spikes, state = ltc_step(
        cell(1.0), cell(0.5), LTCState(cell(0.0)), NeuronConfig(threshold=0.25)
    )
    assert (spikes.item(), state.u.item()) == (1.0, 0.0)


def test_adaptive_threshold_rises_after_a_spike() -> None:
    # c = 0.4, kappa = 0.5, rho = 0.75; theta_t = 0.1 + 1.8 b_t.
    # 1: b = 0;        theta = 0.1;       u' = 0.2     spikes
    # 2: b = 0.25;     theta = 0.55;      u' = 0.2
    # 3: b = 0.1875;   theta = 0.4375;    u' = 0.3
    # 4: b = 0.140625; theta = 0.353125;  u' = 0.35
    # 5: b = 0.10546875; theta = 0.28984375; u' = 0.375  spikes
    # 6: b = 0.3291015625; theta = 0.6923828125; u' = 0.2
    state = AdaptiveLTCState(cell(0.0), cell(0.0), cell(0.0))
    potentials, averages, spikes = [], [], []
    for _ in range(6):
        fired, state = adaptive_ltc_step(cell(0.4), cell(0.5), cell(0.75), state, NEURON)
        assert torch.equal(fired, state.spikes)
        potentials.append(state.u.item())
        averages.append(state.b.item())
        spikes.append(int(fired.item()))
    assert spikes == [1, 0, 0, 0, 1, 0]
    assert potentials == pytest.approx([0.0, 0.2, 0.3, 0.35, 0.0, 0.2])
    assert averages == pytest.approx([0.0, 0.25, 0.1875, 0.140625, 0.10546875, 0.3291015625])


def expected_surrogate(x: Tensor, config: NeuronConfig) -> Tensor:
    """The formula with torch's own normal density."""

    def density(mean: float, sigma: float) -> Tensor:
        return torch.distributions.Normal(mean, sigma).log_prob(x).exp()

    h, sigma = config.surrogate_h, config.surrogate_sigma
    side = config.surrogate_scale * sigma
    lobes = h * density(sigma, side) + h * density(-sigma, side)
    return config.surrogate_gamma * ((1 + h) * density(0.0, sigma) - lobes)


@pytest.mark.parametrize(
    "config",
    [
        NEURON,
        NeuronConfig(
            surrogate_gamma=1.3, surrogate_h=0.4, surrogate_sigma=0.6, surrogate_scale=2.0
        ),
    ],
)
def test_surrogate_is_the_multi_gaussian(config: NeuronConfig) -> None:
    u = torch.linspace(-3, 5, 401, dtype=torch.float64, requires_grad=True)
    spikes = spike(u, 1.0, config)
    assert torch.equal(spikes, (u > 1.0).to(u.dtype))
    spikes.sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(u.grad, expected_surrogate(u.detach() - 1.0, config))


def test_surrogate_has_its_known_height_and_negative_sides() -> None:
    u = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    spike(u, 1.0, NEURON).sum().backward()  # type: ignore[no-untyped-call]
    assert u.grad is not None
    root = math.sqrt(2 * math.pi)
    at_zero = 0.5 * (1.15 / (0.3 * root) - 2 * 0.15 / (1.8 * root) * math.exp(-1 / 72))
    assert u.grad[0].item() == pytest.approx(at_zero)
    assert u.grad[1].item() < 0


def test_threshold_receives_the_opposite_gradient() -> None:
    u = torch.tensor([0.9], requires_grad=True)
    threshold = torch.tensor([1.0], requires_grad=True)
    spike(u, threshold, NEURON).sum().backward()  # type: ignore[no-untyped-call]
    assert u.grad is not None
    assert u.grad.item() > 0
    torch.testing.assert_close(threshold.grad, -u.grad)


def test_spikes_are_the_same_with_and_without_gradients() -> None:
    u = torch.randn(1000, generator=torch.Generator().manual_seed(0)) + 1
    with torch.no_grad():
        plain = spike(u, 1.0, NEURON)
    assert torch.equal(plain, spike(u, 1.0, NEURON))


@pytest.mark.parametrize("start", [0.2, 0.9, 1.4])
def test_gradient_flows_through_the_reset(start: float) -> None:
    """d u_t / d c = kappa [(1 - s) - u' surrogate(u' - theta)]; the second term is the reset's."""
    current = cell(1.1).requires_grad_()
    rate = cell(0.5).requires_grad_()
    before = cell(start).requires_grad_()
    spikes, state = ltc_step(current, rate, LTCState(before), NEURON)
    state.u.sum().backward()  # type: ignore[no-untyped-call]
    u = start + 0.5 * (1.1 - start)
    slope = expected_surrogate(torch.tensor(u - 1.0, dtype=torch.float64), NEURON).item()
    through = (1 - float(u > 1.0)) - u * slope
    assert current.grad is not None
    assert rate.grad is not None
    assert before.grad is not None
    assert spikes.item() == float(u > 1.0)
    assert current.grad.item() == pytest.approx(0.5 * through)
    assert before.grad.item() == pytest.approx(0.5 * through)
    assert rate.grad.item() == pytest.approx((1.1 - start) * through)
