"""A request handed on to a replica, and to another one where the first is lost."""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus

import httpx
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from detector_app.cluster.leases import Leases, LostReplicaError, NoReplicaError

TRIES = 4
"""How often a request is begun: detection gives the same however often it is done."""
CONNECT_S, ANSWER_S = 2.0, 150.0
"""How long a replica is waited for; it gives up by itself before the latter."""
IDLE_S = 5.0
"""How long a connection is kept for the next request; less than the replica keeps it."""
STREAMED = "application/x-ndjson"
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer "
    b"transfer-encoding upgrade".split()
)
NOT_SENT_ON = HOP_BY_HOP | {b"host", b"origin", b"content-length", b"expect", b"cookie"}
"""The replica knows neither our name nor whose page this is; the front has checked both."""


class Forwarder:
    """Hands requests on.

    Args:
        leases: chooses replicas.
        max_body_bytes: of the largest request.
        key: of the replicas, where they have one.

    Attributes:
        retried: how many requests were begun again on another replica.
        failed: how many were refused since none answered.
    """

    def __init__(self, leases: Leases, max_body_bytes: int, key: str | None) -> None:
        self.retried = self.failed = 0
        self._leases, self._max_body_bytes = leases, max_body_bytes
        self.headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
        self.client = httpx.AsyncClient(
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S, pool=None),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=IDLE_S),
            trust_env=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, unless its client leaves before."""
        body = await self._body(receive)
        if body is None:
            megabytes = self._max_body_bytes / 1e6
            detail = f"the request is larger than {megabytes:g} MB; send a smaller picture"
            refusal = JSONResponse({"detail": detail}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            await refusal(scope, receive, send)
            return
        work = asyncio.ensure_future(self._answer(scope, body, send))
        gone = asyncio.ensure_future(_disconnection(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _answer(self, scope: Scope, body: bytes, send: Send) -> None:
        """Try replica after replica; the last word is 503."""
        error: LostReplicaError | NoReplicaError = NoReplicaError()
        for attempt in range(TRIES):
            self.retried += attempt > 0
            try:
                async with self._leases.lease() as address:
                    await self._forward(address, scope, body, send)
                return
            except LostReplicaError as lost:
                error = lost
            except NoReplicaError as none:
                error = none
                break
        self.failed += 1
        headers = {"Retry-After": str(getattr(error, "retry_after_s", 1))}
        refusal = JSONResponse({"detail": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE, headers)
        await refusal(scope, _nothing, send)

    async def _forward(self, address: str, scope: Scope, body: bytes, send: Send) -> None:
        """The answer of one replica, whole before it is passed on, but for that of a clip.

        Raises:
            LostReplicaError: where it gave none.
        """
        query = scope["query_string"].decode("latin-1")
        url = httpx.URL(f"http://{address}{scope['path']}").copy_with(query=query.encode())
        headers = _kept(scope["headers"], NOT_SENT_ON | {b"authorization", b"x-api-key"})
        request = self.client.build_request(
            scope["method"], url, headers=[*headers, *self.headers], content=body
        )
        begun = False
        try:
            answer = await self.client.send(request, stream=True)
            try:
                ends = answer.headers.get("connection", "").lower() == "close"
                if ends and answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                    raise LostReplicaError("the replica is ending; send this again in a second")
                streamed = answer.headers.get("content-type", "").startswith(STREAMED)
                whole = b"" if streamed else await _read(answer)
                begun = True
                start = {"type": "http.response.start", "status": answer.status_code}
                kept = _kept(answer.headers.raw, HOP_BY_HOP)
                await send(start | {"headers": kept})
                if streamed:
                    async for piece in answer.aiter_raw():
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": whole, "more_body": False})
            finally:
                await answer.aclose()
        except httpx.TransportError as error:
            if begun:
                raise  # the client sees that its answer is cut off
            raise LostReplicaError(
                "the replica that looked at this is gone; send it again in a second"
            ) from error

    async def _body(self, receive: Receive) -> bytes | None:
        """All of a request; None where that is too much, which is read and thrown away."""
        pieces: list[bytes] = []
        total, more = 0, True
        while more:
            message = await receive()
            piece = message.get("body", b"")
            total += len(piece)
            if total > self._max_body_bytes:
                pieces.clear()
            else:
                pieces.append(piece)
            more = message.get("more_body", False)
        return None if total > self._max_body_bytes else b"".join(pieces)


def _kept(
    headers: Iterable[tuple[bytes, bytes]], without: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in without]


async def _read(answer: httpx.Response) -> bytes:
    return b"".join([piece async for piece in answer.aiter_raw()])


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nothing() -> dict[str, str]:
    """`receive` of a request that was read."""
    return {"type": "http.disconnect"}
