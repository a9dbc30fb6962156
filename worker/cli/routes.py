"""Says with a command what the API says with a route. Pure, and of the standard library."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

_NAME = r"([^\s/]*[^\s/;,:.)])"

_Match: TypeAlias = re.Match[str]


def _of_tracker(command: str) -> Callable[[_Match], str]:
    def written(found: _Match) -> str:
        account, generation_id = found.groups()
        of = "" if account == "luma" else f"-a {account} "
        return f"`dreamhook {command} {of}{generation_id}`"

    return written


_COMMANDS: tuple[tuple[str, str | Callable[[_Match], str]], ...] = (
    (rf"DELETE /v1/trackers/{_NAME}/{_NAME}", _of_tracker("cancel")),
    (rf"GET /v1/trackers/{_NAME}/{_NAME}", _of_tracker("get")),
    (rf"GET /v1/generations/{_NAME}", r"`dreamhook submissions \1`"),
    (r"POST /v1/deliveries/\{delivery_id\}/replay", "`dreamhook replay dlv_…`"),
    (r"PUT /v1/endpoints/\{name\}", "`dreamhook endpoints put NAME --url URL`"),
    (
        rf'PUT /v1/endpoints/{_NAME} with \{{"enabled": true\}}',
        r"`dreamhook endpoints enable \1`",
    ),
    (rf"PUT /v1/endpoints/{_NAME} with another url", r"`dreamhook endpoints put \1 --url URL`"),
    (r"\bGET shows", "`dreamhook get` shows"),
)
"""What the API's errors advise (`worker.disputes`, `worker.endpoints`), and the same as typed."""


def in_commands(text: str) -> str:
    """Name the commands instead of the routes in what the API says, where there are some.

    >>> in_commands('PUT /v1/endpoints/mine with {"enabled": true} first.')
    '`dreamhook endpoints enable mine` first.'
    """
    for route, command in _COMMANDS:
        text = re.sub(route, command, text)
    return text
