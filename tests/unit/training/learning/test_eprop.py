"""e-prop's gradient against BPTT's, and against its definition by brute force."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spyv4.config import NeuronConfig
from spyv4.errors import ConfigError
from spyv4.network.blocks import DenseState, SpikingConv2d, SpikingDense
from spyv4.neurons import KINDS, AdaptiveLIF
from training.config import LearnerConfig
from training.learning import EProp, Learner, build_learner
from training.tasks.add import AddConfig, AddRun

INPUTS, SIZE, BATCH, STEPS = 3, 5, 4, 9
KINDS_KNOWN = pytest.mark.parametrize("kind", ["lif", "adaptive-lif"])
LOSS_AT = pytest.mark.parametrize("loss_at", ["end", "every"])


def layer(inputs: int, kind: str) -> SpikingDense:
    return SpikingDense(inputs, SIZE, NeuronConfig(kind=kind, rate_bias=0.3))  # type: ignore[arg-type]


class Network(nn.Module):
    """Layers one after the other, and a linear read-out of potentials and spikes of the last."""

    def __init__(self, kind: str, depth: int = 1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer(INPUTS if i == 0 else SIZE, kind) for i in range(depth))
        self.readout = nn.Linear(2 * SIZE, 2)
        self.double()
        with torch.no_grad():
            for one in self.layers:
                one.synapse.weight.mul_(4)

    def initial_state(self) -> list[DenseState]:
        return [one.initial_state(BATCH) for one in self.layers]

    def forward(self, x: Tensor, state: list[DenseState]) -> tuple[Tensor, list[DenseState]]:
        after = []
        for one, before in zip(self.layers, state, strict=True):
            x, new = one(x, before)
            after.append(new)
        return self.readout(torch.cat((after[-1].neuron.u, x), dim=1)), after


def network(kind: str, depth: int = 1) -> Network:
    torch.manual_seed(0)
    return Network(kind, depth)


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.rand(STEPS, BATCH, INPUTS, generator=generator, dtype=torch.float64)
    return x, torch.rand(STEPS, BATCH, 2, generator=generator, dtype=torch.float64)


def learned(net: Network, config: LearnerConfig) -> tuple[list[dict[str, Tensor]], float]:
    """Gradients of every update of one sequence, by parameter, and the loss."""
    found: list[dict[str, Tensor]] = []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    optimizer.register_step_pre_hook(
        lambda *_: found.append(
            {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
        )
    )
    x, goals = data()
    rule = build_learner(net, optimizer, config)
    result = rule.sequence(
        lambda t, state: net(x[t], state),
        lambda y, t: (y - goals[t]).square().mean(),
        net.initial_state(),
        STEPS,
    )
    assert not result.loss.requires_grad
    assert not result.state[0].neuron.u.requires_grad
    return found, result.loss.item()


def rule(kind: str, loss_at: str, updates: int = 0) -> LearnerConfig:
    return LearnerConfig(kind=kind, loss_at=loss_at, updates=updates, gradient_clip=0.0)  # type: ignore[arg-type]


def assert_same(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(mine[name], gradient, atol=1e-12, rtol=1e-9, msg=name)
        assert gradient.abs().max() > 1e-4, name


@LOSS_AT
@KINDS_KNOWN
def test_without_recurrent_synapses_it_is_bptt(kind: str, loss_at: str) -> None:
    gradients = []
    for learner in ("eprop", "bptt"):
        net = network(kind)
        with torch.no_grad():
            net.layers[0].synapse.weight[:, INPUTS:] = 0
        found, loss = learned(net, rule(learner, loss_at))
        gradients.append((found[0], loss))
    assert_same(gradients[0][0], gradients[1][0])
    assert gradients[0][1] == pytest.approx(gradients[1][1])


def brute_force(net: Network, loss_at: str, constant: int | None) -> dict[str, Tensor]:
    """BPTT where no spike acts through a recurrent synapse, and layer `constant` has no past."""
    x, goals = data()
    state, terms = net.initial_state(), []
    for t in range(STEPS):
        state = [
            DenseState(
                type(one.neuron)(*(v.detach() if index == constant else v for v in one.neuron)),
                one.spikes.detach(),
            )
            for index, one in enumerate(state)
        ]
        output, state = net(x[t], state)
        terms.append((output - goals[t]).square().mean())
    loss = terms[-1] if loss_at == "end" else torch.stack(terms).mean()
    names, parameters = zip(*net.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {n: g for n, g in zip(names, found, strict=True) if g is not None}


@LOSS_AT
@KINDS_KNOWN
def test_with_recurrent_synapses_it_is_its_definition(kind: str, loss_at: str) -> None:
    (mine,), _ = learned(network(kind), rule("eprop", loss_at))
    assert_same(mine, brute_force(network(kind), loss_at, None))
    (whole,), _ = learned(network(kind), rule("bptt", loss_at))
    name = "layers.0.synapse.weight"
    assert (mine[name] - whole[name]).abs().max() > 1e-4  # the approximation does leave out some


@KINDS_KNOWN
def test_of_two_layers_each_is_credited_through_its_own_past(kind: str) -> None:
    """The first one's weights act on the second one's present, not on its past."""
    (mine,), _ = learned(network(kind, 2), rule("eprop", "every"))
    first = brute_force(network(kind, 2), "every", 1)
    second = brute_force(network(kind, 2), "every", 0)
    theirs = {n: (first if n.startswith("layers.0") else second)[n] for n in first}
    assert_same(mine, theirs)


@KINDS_KNOWN
def test_traces_go_on_from_one_update_to_the_next(kind: str) -> None:
    """Without a learning rate, the parts of the gradient are those of the whole."""
    parts, loss = learned(network(kind), rule("eprop", "every", updates=STEPS))
    (whole,), whole_loss = learned(network(kind), rule("eprop", "every"))
    assert len(parts) == STEPS
    mean = {name: sum(part[name] for part in parts) / STEPS for name in whole}
    assert_same(mean, whole)  # type: ignore[arg-type]
    assert loss == pytest.approx(whole_loss)


def test_a_sequence_starts_without_traces() -> None:
    net = network("lif")
    (first,), _ = learned(net, rule("eprop", "every"))
    (second,), _ = learned(net, rule("eprop", "every"))
    assert_same(first, second)
    assert not net.layers[0]._forward_pre_hooks
    assert not net.layers[0].synapse._forward_hooks


class Kept:
    """What a graph keeps for its way back."""

    def __init__(self, tensor: Tensor) -> None:
        # Without its graph, which a node that keeps what it gave out would else keep, and itself.
        self.tensor = tensor.detach()


def most_kept(kind: str, steps: int) -> int:
    """How many tensors graphs keep for their way back, at most, when a step begins."""
    net = network("adaptive-lif")
    everything: weakref.WeakSet[Kept] = weakref.WeakSet()
    kept: list[int] = []

    def keep(tensor: Tensor) -> Kept:
        one = Kept(tensor)
        everything.add(one)
        return one

    def step(t: int, state: list[DenseState]) -> tuple[Tensor, list[DenseState]]:
        kept.append(len(everything))
        return net(torch.ones(BATCH, INPUTS, dtype=torch.float64), state)

    learner = build_learner(net, torch.optim.SGD(net.parameters(), lr=0.0), rule(kind, "every"))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one.tensor):
        learner.sequence(step, lambda y, t: y.square().mean(), net.initial_state(), steps)
    return max(kept)


def test_memory_does_not_grow_with_the_sequence() -> None:
    assert most_kept("eprop", 30) == most_kept("eprop", 5) == 0
    assert most_kept("bptt", 30) > 5 * most_kept("bptt", 5) > 0


@pytest.mark.slow
def test_it_learns_a_short_add_task() -> None:
    """Better than to know nothing, which costs 0.167, where neurons remember for long enough."""
    run = AddRun(
        AddConfig(
            neuron="alif",
            learner=LearnerConfig(kind="eprop"),
            length=10,
            iterations=600,
            batch_size=64,
            network="2-64R-1",
            learning_rate=2e-2,
        )
    )
    (neuron,) = (one for one in run.network.modules() if isinstance(one, AdaptiveLIF))
    with torch.no_grad():
        neuron.rate_logit.fill_(-1.0)
        neuron.adaptation_logit.fill_(2.0)
    while not run.done:
        run.advance()
    assert run.recent < 0.148


def refused(net: nn.Module) -> pytest.ExceptionInfo[ConfigError]:
    parameters = list(net.parameters()) or [nn.Parameter(torch.zeros(1))]
    with pytest.raises(ConfigError, match="choose another learner") as caught:
        build_learner(net, torch.optim.SGD(parameters, lr=0.1), LearnerConfig(kind="eprop"))
    return caught


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("lif", "adaptive-lif")])
def test_other_neurons_are_refused(kind: str) -> None:
    refused(layer(INPUTS, kind)).match(f"needs lif or adaptive-lif neurons, not {kind}")


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.LSTMCell(2, 3), "not LSTMCell"),
        (nn.Sequential(layer(2, "lif"), nn.GRU(2, 3)), "not GRU"),
        (SpikingConv2d(1, 2, 3, NeuronConfig(kind="lif")), "convolution"),
        (nn.Linear(2, 3), "no recurrent layer"),
    ],
)
def test_other_layers_are_refused(net: nn.Module, message: str) -> None:
    refused(net).match(message)


def test_a_layer_that_does_not_compute_once_a_step_is_refused() -> None:
    net = network("lif")
    learner = build_learner(net, torch.optim.SGD(net.parameters(), lr=0.1), rule("eprop", "end"))
    x, _ = data()

    def twice(t: int, state: Any) -> Any:
        _, state = net(x[t], state)
        return net(x[t], state)

    def never(t: int, state: Any) -> Any:
        return net.readout.weight.sum(), state

    for step, times in ((twice, 2), (never, 0)):
        with pytest.raises(ConfigError, match=f"once a step, .* not {times} times"):
            learner.sequence(step, lambda y, t: y.sum(), net.initial_state(), 2)
    assert not net.layers[0]._forward_pre_hooks


def test_a_compiled_network_is_refused() -> None:
    net = network("lif")
    learner = build_learner(net, torch.optim.SGD(net.parameters(), lr=0.1), rule("eprop", "end"))
    net.compile(backend="eager")
    with pytest.raises(ConfigError, match="do not compile it"):
        learner.sequence(lambda t, s: net(data()[0][t], s), lambda y, t: y.sum(), [], 1)


def test_only_the_network_makes_a_learner_of_it() -> None:
    net = network("lif")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match="use build_learner"):
        Learner(net.parameters(), optimizer, LearnerConfig(kind="eprop"))
    assert isinstance(build_learner(net, optimizer, LearnerConfig(kind="eprop")), EProp)
    assert type(build_learner(net, optimizer, LearnerConfig(kind="fptt"))) is Learner
