"""The benchmark of a training step."""

import pytest

from training.benchmarks.step import Result, document
from training.benchmarks.step_ways import Task, plain, trainer_step

TASK = Task("spyv4-nano", (64, 64), batch_size=2, reads=2, device="cpu")


@pytest.mark.filterwarnings("error")
def test_the_plain_way_does_what_the_product_does() -> None:
    way, other = plain(TASK), trainer_step(TASK, "float32", compile_step=False)
    before = {name: p.detach().clone() for name, p in way.model.named_parameters()}
    for _ in range(2):
        way.step()
        other.step()
    for (name, mine), theirs in zip(
        other.model.named_parameters(), way.model.parameters(), strict=True
    ):
        moved = (theirs - before[name]).norm()
        assert moved > 0, name
        assert (mine - theirs).norm() < 0.02 * moved, name


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    results = {
        "ours": Result("compiled, bfloat16", [1.0, 1.0, 4.0], 50, 8e9, 16e9),
        "plain": Result("eager, float32", [2.0, 3.0, 4.0], 100, 8e9, 4e9),
    }
    found = document(TASK._replace(model="spyv4"), results)
    assert found["ratio"] == 2.0
    assert found["limit"] == 2.5
    assert found["memory_ratio"] == 0.5
    assert found["ways"]["ours"]["images_per_s"] == 2.0
    assert found["ways"]["ours"]["share_of_peak"] == 0.5
    assert found["ways"]["plain"]["share_of_peak"] == pytest.approx(2 / 3)


def test_another_limit_where_bfloat16_is_no_faster() -> None:
    result = Result("compiled, float32", [1.0], 50, 8e9, 16e9)
    found = document(TASK._replace(model="spyv4"), {"ours": result, "plain": result})
    assert found["limit"] == 1.6
