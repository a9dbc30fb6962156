"""What goes wrong on our side costs a receiver nothing."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from tests.courier.conftest import LOOPBACK, Office
from worker import events
from worker.egress import Egress, OwnTroubleError
from worker.model import DeliveryState, Endpoint


async def out_of_files(_: str) -> Sequence[str]:
    raise OSError(errno.EMFILE, "Too many open files")


async def test_an_attempt_that_could_not_be_made_is_not_counted(office: Office) -> None:
    await office.egress.aclose()
    office.egress = Egress([LOOPBACK], resolve=out_of_files)
    shop = Endpoint(name="shop", url="http://shop.example/hook")
    owed = await office.owe(await office.endpoint(shop.name, shop.url))
    lane = events.lane_of(shop.url)

    with pytest.raises(OwnTroubleError):
        await office.drain(lane)

    found = await office.delivery(owed)
    assert (found.state, found.tries, found.attempts) == (DeliveryState.PENDING, 0, ())
    assert (await office.health(lane)).streak == 0
