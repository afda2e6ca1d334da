"""Stopping at the first value that is NaN or infinite, before a checkpoint holds one."""

from pathlib import Path

import torch
from torch import Tensor, nn

from training.criterion import LossTerms
from training.errors import NonFiniteLossError


def check_terms(values: Tensor, where: str, run_dir: Path) -> None:
    """Check the terms of a loss.

    Args:
        values: the terms, [3], in the order of `LossTerms`.
        where: the epoch, batch and read, for people.
        run_dir: holds the checkpoint to go back to.

    Raises:
        NonFiniteLossError: if one is NaN or infinite; says which.
    """
    if torch.isfinite(values).all():
        return
    named = zip(LossTerms._fields, torch.isfinite(values).tolist(), strict=True)
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
