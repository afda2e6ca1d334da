"""Who may use the server from a browser, and what its page may do.

That is its own page alone, under a name that is its own.

A page of another site can make a visitor's browser send requests here. `Origin` tells where the
page is from. `Host` tells the name under which the browser reached us: a site that lets its own
name point here (DNS rebinding) would pass for our page otherwise.
"""

from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detector_app.http.hosts import ANY_HOST, canonical_host, host_name

LOCAL = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer: nothing is loaded from elsewhere, and no other page may show this one."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Security:
    """ASGI middleware that refuses foreign hosts and origins, and adds `HEADERS` to answers.

    Args:
        app: what it protects.
        trusted: names and addresses under which the server may be reached, besides those of this
            machine and the address that a connection came in on; `*` for any.
    """

    def __init__(self, app: ASGIApp, trusted: Iterable[str] = ()) -> None:
        self._app = app
        self._trusted = {canonical_host(name) for name in (*LOCAL, *trusted)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; a WebSocket before it is accepted."""
        if scope["type"] in ("http", "websocket"):
            refusal = self._check(scope)
            answer = self._app
            if refusal is not None:
                status, detail = refusal
                answer = JSONResponse({"detail": detail}, status)
            await answer(scope, receive, _with_headers(send))
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        """Why a request is refused, or None."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            return (
                HTTPStatus.BAD_REQUEST,
                "the request must have one Host header, a name or address",
            )
        here = canonical_host((scope.get("server") or ("",))[0])
        if not {name, ANY_HOST} & self._trusted and name != here:
            return HTTPStatus.MISDIRECTED_REQUEST, (
                f"{name[:100]!r} is no name of this server; reach it by its address, or start it "
                "with --allowed-host"
            )
        if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
            return None
        for origin in headers.getlist("origin"):
            if urlsplit(origin).netloc.lower() != hosts[0].lower():
                return HTTPStatus.FORBIDDEN, "a page of another site may not do this"
        return None


def _with_headers(send: Send) -> Send:
    """`send` that adds `HEADERS` where an answer begins."""

    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending
