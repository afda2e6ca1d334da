"""The paper's loss of a step of a sequence that has one label."""

from typing import Literal

from torch import Tensor
from torch.nn import functional

Divergence = Literal["prior", "label"]


def sequence_loss(outputs: Tensor, labels: Tensor, share: float, divergence: Divergence) -> Tensor:
    """Loss of one step (paper, equation 2).

        l_t = b_t CE(P_t, y) + (1 - b_t) div_t,   b_t = t / T,   div_t = -sum_j Q(j) log P_t(j)

    P_t is the softmax of the outputs. The paper calls Q the "target label distribution" and says
    no more. `prior`, read from the online setting, is what is known of the label before anything is
    read, all classes alike: early steps are kept from guessing, the last one is judged by its
    label alone. `label` puts all of Q on the label: then div_t is CE, and so is every l_t.

    Args:
        outputs: [B, classes].
        labels: [B], class numbers.
        share: b_t, in (0, 1].
        divergence: which Q.

    Returns:
        The mean over the batch, a scalar.
    """
    log = functional.log_softmax(outputs, dim=1)
    entropy = functional.nll_loss(log, labels)
    if divergence == "label":
        return entropy
    return share * entropy - (1 - share) * log.mean()
