"""What is said of a Redis, from what it tells of itself."""

from __future__ import annotations

import re

import pytest

from worker.safety import RedisFacts, facts_of, refusal, risks

GOOD = {
    "redis_version": "7.2.4",
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "role": "master",
    "connected_slaves": 0,
}
REPLICA = {"ip": "10.0.0.2", "port": 6379, "state": "online", "offset": 14, "lag": 0}


def test_a_redis_that_is_as_it_should_be_needs_no_word() -> None:
    facts = facts_of(GOOD, fsync="always")
    assert (refusal(facts), risks(facts)) == (None, [])


def test_a_redis_that_tells_nothing_is_taken_as_it_is() -> None:
    facts = facts_of({})
    assert (facts, refusal(facts), risks(facts)) == (RedisFacts(), None, [])


@pytest.mark.parametrize(
    ("version", "is_refused"),
    [("6.0.16", True), ("6.2.0", False), ("5.0", True), ("8.0.2", False), ("unknown", False)],
)
def test_what_is_older_than_the_scripts_need_is_refused(version: str, *, is_refused: bool) -> None:
    why = refusal(facts_of({**GOOD, "redis_version": version}))
    assert (why is not None) is is_refused
    assert why is None or f"Redis {version} is too old" in why


def test_a_replica_is_refused_with_the_form_that_names_its_primary() -> None:
    why = refusal(facts_of({**GOOD, "role": "slave"}))
    assert why
    assert "redis+sentinel://" in why


@pytest.mark.parametrize(
    ("told", "beside", "said"),
    [
        ({"aof_enabled": 0}, {}, "appendonly yes"),
        ({"aof_last_write_status": "err"}, {}, "Is the disk full?"),
        ({}, {"fsync": "everysec"}, "appendfsync everysec.*up to a second"),
        ({}, {"fsync": "no"}, "up to half a minute"),
        ({}, {"behind_sentinels": True}, "no replica"),
        ({"slave0": REPLICA}, {}, "min-replicas-to-write 1"),
        ({"slave0": {**REPLICA, "lag": 60}, "min_slaves_good_slaves": 1}, {}, "nothing for 60 s"),
        ({}, {"skew_s": 12.4}, "12 s ahead of"),
        ({}, {"skew_s": -400.0}, "400 s behind"),
        ({}, {"skew_s": -7200.0}, "7200 s behind"),
        (
            {},
            {"skew_s": 7200.0},
            "7200 s ahead of.* over an hour behind.*a worker here starts late",
        ),
    ],
)
def test_each_risk_is_said_by_itself(
    told: dict[str, object], beside: dict[str, object], said: str
) -> None:
    facts = facts_of({**GOOD, **told}, **beside)  # type: ignore[arg-type]
    (risk,) = risks(facts)
    assert re.search(said, risk)


def test_a_replica_that_keeps_up_behind_sentinels_is_no_risk() -> None:
    told = {
        **GOOD,
        "slave0": REPLICA,
        "slave1": {**REPLICA, "lag": 60},
        "min_slaves_good_slaves": 1,
    }
    assert risks(facts_of(told, behind_sentinels=True)) == []


def test_without_a_file_the_way_it_is_written_does_not_matter() -> None:
    (risk,) = risks(facts_of({**GOOD, "aof_enabled": 0}, fsync="everysec"))
    assert "appendonly" in risk


def test_a_clock_that_is_a_little_off_is_no_risk() -> None:
    assert risks(facts_of(GOOD, skew_s=-4.9)) == []
