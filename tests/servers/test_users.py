"""A Redis user who may do no more than the documents say is enough for the whole product."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.redis_servers import Server, eventually, server
from tests.servers.conftest import Deployment
from worker.checkup import check_redis
from worker.config import Settings
from worker.errors import ConfigurationError, RedisAwayError
from worker.wiring_redis import connected

DOCUMENT = Path(__file__).parents[2] / "docs/settings.md"
PASSWORD = "p@ss:w/rd"
ENCODED = "p%40ss%3Aw%2Frd"


def rules() -> list[str]:
    """The rules that the document gives such a user."""
    command = re.search(
        r"^ {4}ACL SETUSER app (.*(?:\n {6}.*)*)", DOCUMENT.read_text(), re.MULTILINE
    )
    assert command
    return command[1].replace(">a-password", f">{PASSWORD}").split()


def with_user(redis: Server, *, prefix: str = "dreamhook") -> str:
    """Make the user, named like the prefix; gives the URL with which they come."""
    own = [rule.replace("dreamhook", prefix) for rule in rules()]
    with redis.client() as admin:
        admin.execute_command("ACL", "SETUSER", prefix, *own)
    return f"redis://{prefix}:{ENCODED}@127.0.0.1:{redis.port}/0"


def refused(redis: Server) -> set[str]:
    """What any user has tried and may not, but for what the document says is not needed."""
    with redis.client() as admin:
        return {str(entry["object"]) for entry in admin.acl_log()} - {
            "config|get",
            "config",
            "client",
        }


async def test_the_user_of_the_document_can_do_all_that_is_needed(
    deployment: Deployment, tmp_path: Path
) -> None:
    with server(tmp_path / "redis") as redis:
        url = with_user(redis)
        async with deployment.running(url) as api:
            for name in ("g-1", "g-2"):
                deployment.create(name)
            hook = {"url": deployment.receiver.url, "events": ["generation.completed"]}
            assert (await api.put("/v1/endpoints/studio", json=hook)).status_code == 201
            assert (await deployment.track(api, "g-1")).status_code == 202
            to_studio = {"endpoint": "studio", "metadata": {"a": 1}}
            assert (await api.put("/v1/trackers/luma/g-2", json=to_studio)).status_code == 202
            await eventually(lambda: _heard(deployment, {"g-1", "g-2"}))
            waited = await api.get("/v1/trackers/luma/g-2", params={"wait": 5, "fresh": True})
            assert waited.json()["state"] == "completed"
            owed = (await api.get("/v1/deliveries")).json()["items"]
            for delivery in owed:
                assert (await api.post(f"/v1/deliveries/{delivery['id']}/replay")).is_success
            deployment.create("g-3", over=False)
            await deployment.track(api, "g-3")
            for path in ("/v1/trackers", "/v1/accounts", "/v1/stats", "/metrics", "/v1/endpoints"):
                assert (await api.get(path)).is_success, path
            assert (await api.get("/v1/trackers/luma/g-1/timeline")).is_success
            assert (await api.delete("/v1/trackers/luma/g-3")).is_success
            for action in ("rotate", "test"):
                assert (await api.post(f"/v1/endpoints/studio/{action}")).is_success, action
            since = {"since": "2020-01-01T00:00:00Z"}
            assert (await api.post("/v1/endpoints/studio/recover", json=since)).is_success
            assert (await api.delete("/v1/endpoints/studio")).is_success
            ready = (await api.get("/readyz")).json()
            assert (ready["ok"], ready["warnings"]) == (True, [])
            async with api.stream("GET", "/v1/events", params={"since": 0}) as events:
                async for line in events.aiter_lines():
                    if line.startswith("data:"):
                        break
        findings = await check_redis(Settings(redis_url=url))
        assert [each.verdict for each in findings] == ["ok"]
        assert refused(redis) == set()
    assert '"level":"error"' not in deployment.log.read_text()


async def test_the_user_of_the_document_can_do_nothing_to_a_neighbour(tmp_path: Path) -> None:
    with server(tmp_path / "redis") as redis:
        with redis.client() as admin:
            admin.set("neighbour:key", 1)
        url = with_user(redis)
        with pytest.raises(ConfigurationError, match=r"neighbour.*key|NoPermission|NOPERM"):
            async with connected(Settings(redis_url=url, prefix="neighbour")):
                pass
        with redis.client(username="dreamhook", password=PASSWORD) as user:
            for command in ("GET neighbour:key", "KEYS *", "FLUSHALL", "CONFIG SET save x"):
                with pytest.raises(Exception, match=r"(?i)perm"):
                    user.execute_command(*command.split())


async def test_two_deployments_on_one_redis_never_touch_each_other(
    deployment: Deployment, tmp_path: Path
) -> None:
    # Each has a user who may touch its own keys, channels and arq jobs alone: others would show.
    with server(tmp_path / "redis") as redis:
        ours, theirs = with_user(redis, prefix="ours"), with_user(redis, prefix="theirs")
        async with (
            deployment.running(ours, DREAMHOOK_PREFIX="ours") as one,
            deployment.running(theirs, DREAMHOOK_PREFIX="theirs") as other,
        ):
            for api, name in ((one, "g-1"), (other, "g-2")):
                deployment.create(name)
                assert (await deployment.track(api, name)).status_code == 202
            await eventually(lambda: _heard(deployment, {"g-1", "g-2"}))
            assert (await one.get("/v1/trackers/luma/g-2")).status_code == 404
            assert (await other.get("/v1/trackers/luma/g-1")).status_code == 404
            for api in (one, other):
                stats = (await api.get("/v1/stats")).json()
                assert stats["trackers"]["completed"] == 1
            await eventually(lambda: _has_finished_jobs(redis))
        assert refused(redis) == set()
        with redis.client() as admin:
            names = {key.decode().split(":")[0] for key in admin.scan_iter()}
        assert names <= {"ours", "theirs", "arq"}


async def test_a_wrong_password_is_said_and_not_shown(tmp_path: Path) -> None:
    with server(tmp_path / "redis") as redis:
        url = with_user(redis).replace(ENCODED, "hunter2")
        with pytest.raises(ConfigurationError, match="DREAMHOOK_REDIS_URL") as refused:
            async with connected(Settings(redis_url=url)):
                pass
        assert "hunter2" not in str(refused.value)
        assert not isinstance(refused.value, RedisAwayError), "it is not waited for"


async def _heard(deployment: Deployment, names: set[str]) -> bool:
    return names <= deployment.receiver.heard


async def _has_finished_jobs(redis: Server) -> bool:
    """Whether arq has ended a drain, and begun the crons, of both."""
    with redis.client() as admin:
        return not [*admin.scan_iter("arq:job:*:drain:*")]
