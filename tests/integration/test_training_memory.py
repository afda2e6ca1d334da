"""FPTT's memory does not grow with the number of reads; that of its baseline does."""

import sys

import pytest

from training.benchmarks.memory import measure


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_eight_reads_is_that_of_one() -> None:
    ratios = {}
    for rule in ("fptt", "bptt"):
        one, eight = measure(rule, 1), measure(rule, 8)
        ratios[rule] = eight.peak / one.peak, eight.training / one.training
    assert ratios["fptt"][0] <= 1.1
    assert ratios["fptt"][1] <= 1.1
    assert ratios["bptt"][0] > 1.5
    assert ratios["bptt"][1] > 3
