import asyncio

import pytest

from detector_app.http.limits import Budget


@pytest.fixture
def budget():
    return Budget(10)


def within_patience(work):
    """Run to the end; a lease that nobody grants is waited for no longer than this."""
    asyncio.run(asyncio.wait_for(work, 5))


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_budget_is_given_in_turn(budget):
    async def run():
        first = await budget.lease(6)
        order = []

        async def ask(name, count):
            lease = await budget.lease(count)
            order.append(name)
            return lease

        large, small = asyncio.create_task(ask("large", 9)), asyncio.create_task(ask("small", 1))
        await settle()
        assert order == []  # the small one does not overtake
        first.release()
        first.release()  # twice is once
        await settle()
        assert order == ["large", "small"]
        (await large).release()
        (await small).release()
        (await budget.lease(1_000)).release()  # more than there is: all there is
        await budget.lease(10)

    within_patience(run())


def test_whoever_leaves_gives_up_its_part(budget):
    async def run():
        first = await budget.lease(10)
        gone, next_one = (asyncio.create_task(budget.lease(10)) for _ in range(2))
        await settle()
        gone.cancel()
        first.release()
        await next_one
        late = asyncio.create_task(budget.lease(10))
        await settle()
        (await next_one).release()
        late.cancel()  # granted already, but it does not know yet
        with pytest.raises(asyncio.CancelledError):
            await late
        await budget.lease(10)

    within_patience(run())
