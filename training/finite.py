"""Stopping at the first value that is NaN or infinite, before a checkpoint holds one."""

from pathlib import Path

import torch
from torch import Tensor, nn

from training.errors import NonFiniteLossError
from training.loss import LossTerms


def check_terms(values: Tensor, where: str, run_dir: Path) -> None:
    """Check the terms of a loss.

    Args:
        values: the terms in the order of `LossTerms`, of one read after the other, [reads, 4].
        where: the epoch and batch, for people.
        run_dir: holds the checkpoint to go back to.

    Raises:
        NonFiniteLossError: if one is NaN or infinite; says which.
    """
    finite = torch.isfinite(values)
    if finite.all():
        return
    first = finite[~finite.all(1)][0]  # what follows it is broken by it
    named = zip(LossTerms._fields, first.tolist(), strict=True)
    bad = " and ".join(name for name, finite in named if not finite)
    raise NonFiniteLossError(f"the {bad} loss is not finite at {where}; {_advice(run_dir)}")


def check_parameters(model: nn.Module, where: str, run_dir: Path) -> None:
    """Check the parameters, which a step may break though its loss was finite.

    Raises:
        NonFiniteLossError: if one is NaN or infinite; says which.
    """
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise NonFiniteLossError(
                f"the parameters {name} are not finite before {where}; {_advice(run_dir)}"
            )


def _advice(run_dir: Path) -> str:
    return (
        f"the last good checkpoint is kept in {run_dir}; resume with a lower learning rate or a "
        f"smaller gradient clip"
    )
