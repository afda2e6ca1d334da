"""Who may use the server at all: whoever has its key, where it has one."""

import hmac
from collections.abc import Iterator
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "spyv4_key"
OPEN_TO_ALL = frozenset({"/api/health", "/api/ready"})
"""They show no pictures, and what asks for them has no secrets to keep."""


class Access:
    """ASGI middleware that asks for the key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    A browser opens `/?key=KEY` once and gets a cookie, which its scripts cannot read and which it
    sends with nothing that another site begins.

    Args:
        app: what it protects.
        key: what must be said.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; a WebSocket before it is accepted."""
        if scope["type"] in ("http", "websocket") and scope["path"] not in OPEN_TO_ALL:
            response = self._answer(scope)
            if response is not None:
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _answer(self, scope: Scope) -> Response | None:
        """What a request gets instead of what it asks for, or None."""
        if any(map(self._fits, _keys(Headers(scope=scope)))):
            return None
        said = parse_qs(scope["query_string"]).get(b"key", [b""])[0]
        if scope["type"] == "http" and scope["path"] == "/" and self._fits(said):
            response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
            response.set_cookie(COOKIE, said.decode(), httponly=True, samesite="strict")
            return response
        detail = (
            "this server asks for its key: send Authorization: Bearer KEY, or open /?key=KEY in a "
            "browser"
        )
        headers = {"WWW-Authenticate": "Bearer"}
        return JSONResponse({"detail": detail}, HTTPStatus.UNAUTHORIZED, headers)

    def _fits(self, said: bytes) -> bool:
        """Whether this is the key, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(said, self._key)


def _keys(headers: Headers) -> Iterator[bytes]:
    """All keys that a request brings."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield value.strip().encode("latin-1")
    yield headers.get("x-api-key", "").encode("latin-1")
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return
    if COOKIE in cookies:
        yield cookies[COOKIE].value.encode("latin-1", "replace")
