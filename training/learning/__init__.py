"""Learning rules for recurrent modules: FPTT, its parts, and back-propagation through time.

The rules know no pictures: they train any function that takes a state and returns one.

```python
import torch
from torch import nn
from training.config import LearnerConfig
from training.learning import Learner

cell, out = nn.LSTMCell(2, 64), nn.Linear(64, 1)
parameters = [*cell.parameters(), *out.parameters()]
learner = Learner(parameters, torch.optim.Adam(parameters, 1e-3), LearnerConfig(kind="fptt-k"))
x = torch.rand(32, 200, 2)
goal = x[:, :, 0].mean(1, keepdim=True)

def step(t, state):
    h, c = cell(x[:, t], state)
    return out(h), (h, c)

start = torch.zeros(32, 64), torch.zeros(32, 64)
learned = learner.sequence(step, lambda y, t: (y - goal).square().mean(), start, steps=200)
```
"""

from training.learning.learner import Learned, Learner, Observation
from training.learning.regulariser import DynamicRegulariser
from training.learning.segments import Segment, segments

__all__ = ["DynamicRegulariser", "Learned", "Learner", "Observation", "Segment", "segments"]
