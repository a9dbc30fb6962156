"""What `listen` does: a receiver that prints what comes in."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus

from worker import listener
from worker.cli import tables
from worker.cli.forwarding import forwarding, target_of
from worker.cli.process import complain, emit, wants_json
from worker.cli.words import state_of
from worker.config import Settings
from worker.errors import InvalidInputError
from worker.listener import Forward, Received


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How to listen: where, and what to answer."""

    host: str
    port: int
    status: int | None
    fail_first: int
    forward_to: str | None


def listen(secret: str | None, manner: Manner, *, json: bool) -> None:
    """Receive webhooks until told to stop.

    Raises:
        ConfigurationError: The address cannot be listened on.
        InvalidInputError: There is no secret to verify with, or it is not one; or there is no
            calling what webhooks are to be passed on to.
    """
    if manner.forward_to is not None and manner.status is not None:
        raise InvalidInputError(
            "--status", "what the target answers is answered: leave --status or --forward-to out"
        )
    show = _emit if wants_json(asked=json) else _show
    asyncio.run(_listen(secret or _configured_secret(), manner, show))


def _configured_secret() -> str:
    configured = Settings.load().webhook_secret
    if configured is None:
        raise InvalidInputError(
            "--secret",
            "say what the webhooks are signed with:"
            ' dreamhook listen --secret "$(dreamhook secret)"',
        )
    return configured.get_secret_value()


async def _listen(secret: str, manner: Manner, show: Callable[[Received], None]) -> None:
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

    async with _forward(manner.forward_to) as forward:
        app = listener.create_app(
            secret,
            on_webhook,
            status=manner.status or HTTPStatus.OK,
            fail_first=manner.fail_first,
            forward=forward,
        )
        async with listener.listening(app, host=manner.host, port=manner.port) as url:
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, end)
            complain(_welcome(url, manner.forward_to))
            await stop


@asynccontextmanager
async def _forward(to: str | None) -> AsyncIterator[Forward | None]:
    if to is None:
        yield None
        return
    async with forwarding(target_of(to)) as forward:
        yield forward


def _welcome(url: str, forward_to: str | None) -> str:
    onward = f", passing on to {target_of(forward_to)}," if forward_to else ""
    return (
        f"receiving at {url}{onward} until Ctrl-C. A Dreamhook on this machine calls private"
        " addresses only with DREAMHOOK_ALLOW_PRIVATE=127.0.0.0/8."
    )


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
            ("state", state_of(data) if "state" in data else None),
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
