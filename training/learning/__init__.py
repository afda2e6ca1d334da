"""Learning rules for recurrent modules: FPTT, its parts, and back-propagation through time.

The rules know no pictures: they train any function that takes a state and returns one.
The README has an example with an LSTM.
"""

from training.learning.build import build_learner
from training.learning.eprop import EProp
from training.learning.learner import Learned, Learner, Observation
from training.learning.regulariser import DynamicRegulariser
from training.learning.segments import Segment, segments

__all__ = [
    "DynamicRegulariser",
    "EProp",
    "Learned",
    "Learner",
    "Observation",
    "Segment",
    "build_learner",
    "segments",
]
