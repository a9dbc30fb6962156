"""The dashboard at `/`: the files of `worker/web`, and what a browser may do with them.

They are few and small, so they are read once and kept. A browser asks each time whether its copy
still holds, which is answered with a 304: an upgrade never mixes old files with new ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_MEDIA_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}

# Previews come from wherever a provider keeps its assets, or from a simulated one on this machine.
_PREVIEWS = "https: http://127.0.0.1:*"

_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        f"default-src 'self'; img-src 'self' {_PREVIEWS}; media-src {_PREVIEWS}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file of the dashboard; `tag` changes with its content."""

    content: bytes
    media_type: str
    tag: str


@cache
def dashboard() -> dict[str, File]:
    """Read the files of the dashboard, by the path that each is served at."""
    found = {}
    for each in files("worker").joinpath("web").iterdir():
        kind = each.name.rpartition(".")[2]
        if kind in _MEDIA_TYPES:
            content = each.read_bytes()
            path = "/" if each.name == "index.html" else f"/web/{each.name}"
            tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            found[path] = File(content, _MEDIA_TYPES[kind], tag)
    return found


def routes() -> list[Route]:
    """Make a route for each file."""
    return [Route(path, _answer, include_in_schema=False) for path in dashboard()]


async def _answer(request: Request) -> Response:
    file = dashboard()[request.scope["path"]]
    headers = {**_HEADERS, "ETag": file.tag}
    known = request.headers.get("if-none-match", "")
    if file.tag in {each.strip().removeprefix("W/") for each in known.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
