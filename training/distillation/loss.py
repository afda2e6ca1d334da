"""What the network loses by differing from its teacher."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from spyv4.config import ModelConfig
from spyv4.heads.levels import split_levels
from spyv4.network.readout import Maps
from spyv4.network.table import STRIDES
from training import processes
from training.config import DistillationConfig
from training.distillation.teacher import STRIDES as TEACHER_STRIDES
from training.distillation.teacher import TeacherView

_EPSILON = 1e-4
_LEAST = 1e-12
"""Of the product of two variances."""


class DistillationLoss(nn.Module):
    """The distance from a teacher, in scores and in features, for the maps of one read.

    Scores, at every cell and class, with s the best score among the cell's anchors and t the
    teacher's: |t - s|^2 BCE(s, t), summed and divided by the sum of t (the quality focal loss of
    Li et al. 2020, Generalized Focal Loss). The finest head hears the teacher's finer levels too.

    Features, at every head: 1 - the correlation, by channel over batch and places, between what
    the teacher's heads see and a 1x1 convolution of the spikes that the head is read from (Cao et
    al. 2022, PKD).

    Args:
        model: heads and classes.
        config: weights of the two.
        channels: of each layer that a head is read from.
        teacher_channels: of the teacher's features.
        known: indices of the classes that the teacher knows.
    """

    def __init__(
        self,
        model: ModelConfig,
        config: DistillationConfig,
        channels: Mapping[str, int],
        teacher_channels: int,
        known: Sequence[int],
    ) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.adaptors = nn.ModuleList(
            # Without bias: the correlation is blind to it, so that rounding alone would move it.
            nn.Conv2d(channels[head.layer], teacher_channels, 1, bias=False)
            for head in model.heads
        )
        self.register_buffer("known", torch.tensor(known), persistent=False)

    def forward(self, maps: Maps, messages: Sequence[Tensor], view: TeacherView) -> Tensor:
        """The weighted sum, a scalar.

        Args:
            maps: raw head maps.
            messages: spikes that each head is read from, [B, C, H, W].
            view: the teacher's, of the same pictures.
        """
        loss = maps[0].new_zeros((), dtype=torch.float32)
        finest = min(STRIDES[head.layer] for head in self.model.heads)
        for level, head, adaptor, message in zip(
            split_levels(maps, self.model), self.model.heads, self.adaptors, messages, strict=True
        ):
            stride = STRIDES[head.layer]
            place = TEACHER_STRIDES.index(stride)
            goal = view.scores[place].float()
            if stride == finest:
                for finer in range(place):
                    factor = stride // TEACHER_STRIDES[finer]
                    pooled = functional.max_pool2d(view.scores[finer].float(), factor)
                    goal = torch.maximum(goal, pooled)
            loss = loss + self.config.score_weight * self._scores(level.raw, goal)
            alike = correlation(adaptor(message.float()), view.features[place].float())
            loss = loss + self.config.feature_weight * (1 - alike)
        return loss

    def _scores(self, raw: Tensor, goal: Tensor) -> Tensor:
        """Of one head: raw [B, A, H, W, 5 + C] against [B, C, H, W]."""
        known = cast("Tensor", self.known)
        chance = raw[..., 4:5].sigmoid() * raw[..., 5:].index_select(-1, known).sigmoid()
        best = chance.amax(1).permute(0, 3, 1, 2).clamp(_EPSILON, 1 - _EPSILON)
        goal = goal.index_select(1, known)
        entropy = -(goal * best.log() + (1 - goal) * (1 - best).log())
        weight = (goal - best.detach()).square()
        share = processes.mean(goal.sum()).clamp(min=1 / processes.count())
        return (weight * entropy).sum() / share


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's, by channel over the batch of all processes and places, mean over channels."""
    flat = [x.transpose(0, 1).flatten(1) for x in (one, other)]
    x, y = (x - processes.mean(x.mean(1, keepdim=True)) for x in flat)
    own, both, others = (processes.mean(product.mean(1)) for product in (x * x, x * y, y * y))
    mean: Tensor = (both / (own * others).clamp(min=_LEAST).sqrt()).mean()
    return mean
