"""What options of `spyv4-tasks` may be; imports nothing, so that `--help` answers at once."""

from collections.abc import Mapping

TASKS: Mapping[str, str] = {
    "add": "the sum of two marked numbers of a sequence (paper, figure 2)",
    "s-mnist": "digits, pixel by pixel: 784 steps",
    "ps-mnist": "the same in an order that was shuffled once",
    "r-mnist": "digits as Poisson spike trains, 20 steps",
    "mnist": "digits, the same picture at each of 20 steps",
    "fashion-mnist": "clothes, the same picture at each of 20 steps",
    "dvs-gesture": "eleven gestures before an event camera, 20 to 1,000 frames",
    "dvs-cifar10": "CIFAR10 before an event camera, 20 frames",
}
NEURON_NAMES = ("ltc", "alif", "lif", "izhikevich", "hodgkin-huxley", "lstm")
LEARNERS = ("plain", "fptt", "fptt-k", "bptt", "tbptt", "eprop")
