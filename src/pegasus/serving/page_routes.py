"""The web page: a few files that ask nothing of other machines, and say so to the browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

#: Paths that anybody may read: they hold nothing of this server's. What the page then asks needs a key.
PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # assigning markup raises, whoever writes it
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def page_routes() -> APIRouter:
    """Return the routes; the files are read now, and no part of a path names one."""
    router = APIRouter(include_in_schema=False)
    folder = files(__name__.rpartition(".")[0]) / "page"
    for path, (name, kind) in PAGE_FILES.items():
        headers = {**_HEADERS, "Content-Type": kind}
        router.add_api_route(path, _teller((folder / name).read_bytes(), headers), methods=["GET", "HEAD"])
    return router


def _teller(content: bytes, headers: dict[str, str]) -> Callable[[], Awaitable[Response]]:
    async def file() -> Response:
        return Response(content, headers=headers)

    return file
