"""Refuse secrets over plain HTTP, give each request an id, and set headers that keep hostile content inactive."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sigprobe.collector.web import problems
from sigprobe.collector.web.log import REQUEST, request_id
from sigprobe.collector.web.settings import Settings

_FREE_WITHOUT_TLS: Final = ("/backend/", "/healthz", "/readyz", "/openapi.json", "/metrics")

_SECURITY_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class SecureTransport:
    """ASGI middleware around every route, static files included."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._plain_public = settings.plain_public
        self._behind_proxy = settings.behind_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        request = None
        if scope["type"] == "http":
            told = Headers(scope=scope).get("x-request-id") if self._behind_proxy else None
            request = request_id(told)
            REQUEST.set(request)
        if scope["type"] != "http" or path.startswith("/backend/"):
            # the speed test sets its own headers: other origins may use it
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = (b"x-request-id", str(request).encode("ascii"))
                message["headers"] = [*message.get("headers", ()), *_SECURITY_HEADERS, own]
            await send(message)

        if self._plain_public and not path.startswith(_FREE_WITHOUT_TLS):
            refusal = problems.problem(
                403,
                "this collector serves no tokens or results without TLS",
                "start it with --tls-cert and --tls-key, with --behind-proxy, or on 127.0.0.1",
            )
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)
