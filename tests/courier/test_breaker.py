"""The circuit breaker of a receiver's origin: when it opens, who may try, and when it closes."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.courier.conftest import Office, Receiver, answer
from worker import delivery_policy, telemetry
from worker.delivery_policy import BREAKER_AFTER
from worker.model import DeliveryState, HealthReason


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.fixture(autouse=True)
def _soon_again(office: Office) -> None:
    office.schedule = (0.01,) * 20


@pytest.fixture
def short_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_policy, "BREAKER_BASE_S", 0.2)
    monkeypatch.setattr(delivery_policy, "HOLD_CAP_S", 0.2)


async def test_after_some_failures_in_a_row_a_receiver_is_left_alone_and_nothing_is_dropped(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [reset]
    await office.owe(receiver)
    await office.drain(receiver.lane)
    for _ in range(5):
        await office.owe(receiver)

    await office.drain(receiver.lane)

    health = await office.health(receiver.lane)
    assert len(receiver.got) == BREAKER_AFTER
    assert (health.reason, health.streak) == (HealthReason.UNREACHABLE, BREAKER_AFTER)
    assert health.held_until > await office.store.now() + 2000
    assert {each.state for each in await office.deliveries()} == {DeliveryState.PENDING}


async def test_many_failures_at_once_count_as_one(office: Office, receiver: Receiver) -> None:
    receiver.answers, office.schedule = [reset], (60.0,)
    receiver.may_answer.clear()
    for _ in range(8):
        await office.owe(receiver)
    draining = asyncio.create_task(office.drain(receiver.lane))
    await receiver.was_called(8)

    receiver.may_answer.set()
    await draining

    assert (await office.health(receiver.lane)).streak == 1


async def test_after_a_hold_one_probe_goes_first_and_its_success_lets_all_others_go(
    office: Office, receiver: Receiver, short_holds: None
) -> None:
    receiver.answers = [*[reset] * BREAKER_AFTER, answer(200)]
    await office.owe(receiver)
    draining = asyncio.create_task(office.drain(receiver.lane))
    await receiver.was_called(BREAKER_AFTER)
    receiver.may_answer.clear()
    for _ in range(5):
        await office.owe(receiver)
    await receiver.was_called(BREAKER_AFTER + 1)
    await asyncio.wait({draining}, timeout=0.3)  # longer than a hold

    assert len(receiver.got) == BREAKER_AFTER + 1
    receiver.may_answer.set()
    await draining
    after = await office.deliveries()
    assert {each.state for each in after} == {DeliveryState.DELIVERED}
    assert (await office.health(receiver.lane)).reason is None
    assert all(each.attempts[-1].held_ms for each in after)
    for each in after:
        line = (await office.store.trackers.timeline("luma", each.generation_id))[-1]
        assert line.details["held_ms"] == each.attempts[-1].held_ms


async def test_two_workers_send_one_probe_between_them(
    office: Office, receiver: Receiver, short_holds: None
) -> None:
    receiver.answers = [*[reset] * BREAKER_AFTER, answer(200)]
    await office.owe(receiver)
    drains = [asyncio.create_task(office.drain(receiver.lane)) for _ in range(2)]
    await receiver.was_called(BREAKER_AFTER)
    receiver.may_answer.clear()
    for _ in range(5):
        await office.owe(receiver)
    await receiver.was_called(BREAKER_AFTER + 1)
    await asyncio.wait(drains, timeout=0.3)

    assert len(receiver.got) == BREAKER_AFTER + 1
    receiver.may_answer.set()
    await asyncio.gather(*drains)


async def test_a_probe_that_fails_holds_the_receiver_again_for_longer(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_policy, "BREAKER_BASE_S", 0.05)
    monkeypatch.setattr(delivery_policy, "doubled", lambda base, n, cap: cap if n else base)
    receiver.answers = [reset]
    await office.owe(receiver)

    await office.drain(receiver.lane)

    health = await office.health(receiver.lane)
    assert len(receiver.got) == health.streak == BREAKER_AFTER + 1
    assert health.held_until > await office.store.now() + 5000


async def test_a_receiver_that_answers_with_errors_is_there(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [*[answer(500)] * (2 * BREAKER_AFTER), answer(200)]
    owed = await office.owe(receiver)

    await office.drain(receiver.lane)

    assert (await office.delivery(owed)).state is DeliveryState.DELIVERED
    assert (await office.health(receiver.lane)).reason is None


async def test_a_breaker_holds_its_own_origin_only(
    office: Office, receivers: list[Receiver]
) -> None:
    ill, healthy, *_ = receivers
    ill.answers = [reset]
    await office.owe(ill)
    await office.drain(ill.lane)
    owed = await office.owe(healthy)

    await office.drain(healthy.lane)

    assert (await office.delivery(owed)).state is DeliveryState.DELIVERED
    assert (await office.health(ill.lane)).held_until > 0


async def test_the_log_says_once_that_an_origin_is_held_and_once_that_it_is_freed(
    office: Office,
    receiver: Receiver,
    short_holds: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry.configure(json=True)
    receiver.answers = [*[reset] * (BREAKER_AFTER + 2), answer(200)]
    await office.owe(receiver)

    await office.drain(receiver.lane)

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    said = [line for line in lines if line["event"] in {"held", "freed"}]
    origin = receiver.url.removesuffix("/hook")
    assert [(line["event"], line["level"], line["origin"]) for line in said] == [
        ("held", "warning", origin),
        ("freed", "info", origin),
    ]
    assert (said[0]["reason"], said[0]["streak"]) == ("unreachable", BREAKER_AFTER)
    assert said[0]["error"].startswith("the connection was ")


async def test_of_failures_at_once_that_open_a_breaker_the_log_says_so_once(
    office: Office, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure(json=True)
    receiver.answers, office.schedule = [reset], (60.0,)
    for count in (1, 1, 8):
        receiver.may_answer.clear()
        for _ in range(count):
            await office.owe(receiver)
        called = len(receiver.got) + count
        draining = asyncio.create_task(office.drain(receiver.lane))
        await receiver.was_called(called)
        receiver.may_answer.set()
        await draining

    assert (await office.health(receiver.lane)).streak == BREAKER_AFTER
    assert capsys.readouterr().err.count('"event":"held"') == 1
