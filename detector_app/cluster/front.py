"""The one address of all replicas: what a client asks for goes to one of them, or to all.

It has no routes but for `/api/health` and `/metrics`, which tell of all replicas; everything else
is the server's of each replica (`detector_app.http`), so that there is one set of rooms. It knows
neither torch nor Ray.
"""

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from detector_app.cluster.bridging import Bridge
from detector_app.cluster.forwarding import Forwarder
from detector_app.cluster.gathering import Gatherer
from detector_app.cluster.leases import Leases
from detector_app.http.access import Access
from detector_app.http.security import Security


@dataclass(frozen=True)
class Rules:
    """What the front has to know of the settings.

    Attributes:
        max_body_bytes: of the largest request.
        trusted: names under which browsers may reach it.
        key: what clients must send; None for nothing.
    """

    max_body_bytes: int
    trusted: tuple[str, ...] = ()
    key: str | None = None


def create_front(leases: Leases, rules: Rules) -> ASGIApp:
    """The front as an ASGI app.

    Args:
        leases: chooses replicas.
        rules: who may use it, and how much they may send.
    """
    app: ASGIApp = _Front(leases, rules)
    if rules.key is not None:
        app = Access(app, rules.key)
    return Security(app, rules.trusted)


class _Front:
    """What lies behind the checks of who may come in."""

    def __init__(self, leases: Leases, rules: Rules) -> None:
        self._leases = leases
        self._forwarder = Forwarder(leases, rules.max_body_bytes, rules.key)
        self._gatherer = Gatherer(leases, self._forwarder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by whatever serves it."""
        if scope["type"] == "websocket":
            await Bridge(self._leases, self._forwarder.headers, receive, send).run()
        elif scope["type"] == "http":
            gathered = {"/api/health": self._gatherer.health, "/metrics": self._gatherer.metrics}
            told = gathered.get(scope["path"])
            if told is None:
                await self._forwarder(scope, receive, send)
            else:
                await (await told())(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start and end as ASGI asks."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._forwarder.client.aclose()
        await send({"type": "lifespan.shutdown.complete"})
