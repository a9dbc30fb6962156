"""What `listen` does: a receiver that prints what comes in."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import asdict

from worker import listener
from worker.cli import tables
from worker.cli.process import complain, emit, wants_json
from worker.config import Settings
from worker.errors import InvalidInputError
from worker.listener import Received


def listen(
    secret: str | None, *, host: str, port: int, status: int, fail_first: int, json: bool
) -> None:
    """Receive webhooks until told to stop.

    Raises:
        ConfigurationError: The address cannot be listened on.
        InvalidInputError: There is no secret to verify with, or it is not one.
    """
    if secret is None:
        configured = Settings.load().webhook_secret
        if configured is None:
            raise InvalidInputError(
                "--secret",
                "say what the webhooks are signed with:"
                ' dreamhook listen --secret "$(dreamhook secret)"',
            )
        secret = configured.get_secret_value()
    show = _emit if wants_json(asked=json) else _show
    asyncio.run(_listen(secret, show, host=host, port=port, status=status, fail_first=fail_first))


async def _listen(
    secret: str,
    show: Callable[[Received], None],
    *,
    host: str,
    port: int,
    status: int,
    fail_first: int,
) -> None:
    stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(error: Exception | None = None) -> None:
        if stop.done():
            return
        if error is None:
            stop.set_result(None)
        else:
            stop.set_exception(error)

    def on_webhook(received: Received) -> None:
        try:
            show(received)
        except OSError as error:  # whoever read the output is gone
            end(error)

    app = listener.create_app(secret, on_webhook, status=status, fail_first=fail_first)
    async with listener.listening(app, host=host, port=port) as url:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, end)
        complain(
            f"receiving at {url} until Ctrl-C. A Dreamhook on this machine calls private addresses"
            " only with DREAMHOOK_ALLOW_PRIVATE=127.0.0.0/8."
        )
        await stop


def _emit(received: Received) -> None:
    emit(asdict(received))


def _show(received: Received) -> None:
    """Print a webhook for people."""
    data = received.body.get("data")
    data = data if isinstance(data, dict) else {}
    assets = data.get("assets")
    tables.show_heading(
        str(received.body.get("type", "")),
        "signature verified" if received.verified else f"refused: {received.reason}",
        is_good=received.verified,
    )
    tables.show_fields(
        [
            ("account", data.get("account")),
            ("generation", data.get("generation_id")),
            ("state", tables.state_of(data) if "state" in data else None),
            *(assets.items() if isinstance(assets, dict) else ()),
            ("webhook-id", _which(received)),
            ("answered", _answered(received)),
        ],
        indent="  ",
    )


def _which(received: Received) -> str:
    if received.duplicate:
        return f"{received.id} (a duplicate: it was taken before)"
    again = f" (attempt {received.attempt})" if received.attempt > 1 else ""
    return f"{received.id}{again}"


def _answered(received: Received) -> str:
    why = f", {received.reason}" if received.verified and received.reason else ""
    return f"{received.answer}{why}"
