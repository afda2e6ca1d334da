"""One pass over a sequence under a learning rule: detach, go back, update.

Every rule is the same loop over segments (see `segments`): the state that comes in is a constant,
the segment's loss goes back through its steps, the parameters are updated once. `fptt` and
`fptt-k` add the dynamic regulariser. With segments of one step, memory does not grow with the
sequence; with `bptt`, one segment is everything.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from spyv4.validation import require
from training import processes
from training.config import LearnerConfig
from training.learning.regulariser import DynamicRegulariser, norm
from training.learning.segments import Segment, segments

State = TypeVar("State")
Output = TypeVar("Output")
Step = Callable[[int, State], tuple[Output, State]]
"""Step t (from 0) and the state before it -> output and the state after it."""
Loss = Callable[[Output, int], Tensor]
"""Output of step t, and t -> a scalar to go down."""


class Observation(NamedTuple):
    """How the regulariser compares with the task, at one update; scalars.

    Attributes:
        task_gradient: norm of the task's gradient.
        penalty_gradient: norm of the regulariser's gradient; 0 without one.
        drift: ||W - Wbar|| / ||W||; 0 without a regulariser.
    """

    task_gradient: Tensor
    penalty_gradient: Tensor
    drift: Tensor


class Learned(NamedTuple, Generic[State]):
    """What a sequence gave.

    Attributes:
        loss: mean over the segments' losses, a scalar without gradient.
        state: after the last step.
        observation: of the last update, where it was asked for.
    """

    loss: Tensor
    state: State
    observation: Observation | None


class Learner:
    """Trains parameters on sequences.

    Args:
        parameters: what is trained.
        optimizer: steps once a segment.
        config: the rule.

    Raises:
        ConfigError: if the rule needs to know more than parameters; `build_learner` gives it that.
    """

    kinds: ClassVar[tuple[str, ...]] = ("plain", "fptt", "fptt-k", "bptt", "tbptt")

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        config: LearnerConfig,
    ) -> None:
        require(
            config.kind in self.kinds,
            f"learner.kind of {type(self).__name__} must be one of {', '.join(self.kinds)}, not "
            f"{config.kind}; use build_learner(network, optimizer, config)",
        )
        self.parameters: list[Tensor] = list(parameters)
        self.optimizer = optimizer
        self.config = config
        self.regulariser: DynamicRegulariser | None = None
        if config.regularised:
            self.regulariser = DynamicRegulariser(self.parameters, config)

    def sequence(
        self,
        step: Step[State, Output],
        loss: Loss[Output],
        state: State,
        steps: int,
        *,
        observe: bool = False,
    ) -> Learned[State]:
        """Learn from one sequence.

        Args:
            step: one step of the recurrent module.
            loss: what a step is judged by.
            state: before the first step; any tree of tensors.
            steps: at least 1.
            observe: measure the regulariser at the last update.
        """
        losses: list[Tensor] = []
        observation: Observation | None = None
        done = 0
        cuts = segments(self.config, steps)
        for cut in cuts:
            with torch.no_grad():
                for t in range(done, cut.start):
                    _, state = step(t, state)
            total, state = self._through(cut, step, loss, state)
            total.backward()  # type: ignore[no-untyped-call]
            losses.append(total.detach())
            last = observe and cut is cuts[-1]
            observation = self._update(observe=last)
            done = cut.stop
        return Learned(torch.stack(losses).mean(), state, observation)

    def _through(
        self, cut: Segment, step: Step[State, Output], loss: Loss[Output], state: State
    ) -> tuple[Tensor, State]:
        """Loss of one segment, with its graph, and the state after it, without."""
        state = tree_map(constant, state)
        terms: list[Tensor] = []
        for t in range(cut.start, cut.stop):
            output, state = step(t, state)
            if self.config.loss_at == "every" or t == cut.stop - 1:
                terms.append(loss(output, t))
        return torch.stack(terms).mean(), tree_map(constant, state)

    @torch.no_grad()
    def _update(self, *, observe: bool) -> Observation | None:
        """One optimiser step from the gradients of the task, which are consumed."""
        processes.average(p.grad for p in self.parameters if p.grad is not None)
        drag: list[Tensor] = []
        if self.regulariser is not None:
            drag = self.regulariser.gradients()
            for parameter in self.parameters:
                if parameter.grad is None:  # pulled all the same
                    parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        task = norm(gradients) if observe else None
        if drag:
            torch._foreach_add_(gradients, drag)
        if self.config.gradient_clip > 0:
            nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        observation = None
        if task is not None:
            zero = torch.zeros_like(task)
            drift = self.regulariser.drift() if self.regulariser is not None else zero
            observation = Observation(task, norm(drag) if drag else zero, drift)
        if self.regulariser is not None:
            self.regulariser.update()
        return observation

    def end_epoch(self) -> None:
        """W <- Wbar, where the rule has a running mean and the configuration wants it."""
        if self.regulariser is not None and self.config.adopt_running_mean:
            self.regulariser.adopt()

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """Within the block the parameters are what is evaluated: Wbar where there is one."""
        if self.regulariser is None:
            yield
        else:
            with self.regulariser.swapped_in():
                yield

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return self.regulariser.state_dict() if self.regulariser is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of the same parameters and rule.

        Raises:
            ValueError: if it is of another rule.
        """
        if bool(state) != (self.regulariser is not None):
            raise ValueError(f"the saved state is not that of the learning rule {self.config.kind}")
        if self.regulariser is not None:
            self.regulariser.load_state_dict(state)


def constant(leaf: Any) -> Any:
    """A tensor of a state without its graph; anything else as it is."""
    return leaf.detach() if isinstance(leaf, Tensor) else leaf
