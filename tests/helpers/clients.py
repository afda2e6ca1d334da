"""The client for asyncio, called like the one for threads."""

import asyncio
from contextlib import contextmanager

from detector_app.client import AsyncClient


class Awaited:
    """An `AsyncClient` whose methods are called like those of `Client`."""

    def __init__(self, client, runner):
        self._client, self._runner = client, runner

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *values, **named: self._runner.run(method(*values, **named))


@contextmanager
def awaited(*values, **named):
    with asyncio.Runner() as runner:
        client = AsyncClient(*values, **named)
        try:
            yield Awaited(client, runner)
        finally:
            runner.run(client.close())
