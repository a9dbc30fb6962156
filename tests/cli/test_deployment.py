"""The commands of whoever runs Dreamhook, as processes of their own."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from contextlib import ExitStack

import httpx
import pytest
from redis import Redis

from tests.cli.conftest import PATIENCE_S, FakeApi, Run, ended, heard, lines, started
from worker.client import Client
from worker.embedded import EmbeddedRedis
from worker.simulator import BASE_PATH

# --- simulate, check, secret ----------------------------------------------------------------------


def test_simulate_with_a_wrong_fault_says_how_it_is_written(run: Run) -> None:
    it = run("simulate", "--port", "0", "--fault", "get:gremlins")
    assert it.code == 2
    assert "call:kind" in it.err


def test_check_prints_the_settings_without_their_secrets(environment: dict[str, str]) -> None:
    it = ended(environment | {"LUMAAI_API_KEY": "luma-key-1"}, "check")
    assert (it.returncode, it.stderr) == (0, "")
    found = lines(it.stdout)
    port = {"setting": "DREAMHOOK_PORT", "value": "0", "source": "environment"}
    assert port in found
    assert [each["check"] for each in found if "check" in each] == [
        "settings",
        "redis",
        "account luma",
    ]
    assert {each["verdict"] for each in found if "check" in each} == {"ok"}
    assert "luma-key-1" not in it.stdout


def test_check_without_an_account_warns_and_says_how_to_add_one(
    environment: dict[str, str],
) -> None:
    it = ended(environment, "check")
    assert it.returncode == 0
    warning = lines(it.stdout)[-1]
    assert (warning["check"], warning["verdict"]) == ("accounts", "warning")
    assert "LUMAAI_API_KEY=" in warning["detail"]


@pytest.mark.parametrize("command", ["check", "serve", "work", "up"])
def test_a_misspelt_setting_is_named_with_what_was_meant(
    environment: dict[str, str], command: str
) -> None:
    misspelt = environment | {"DREAMHOOK_RETENTON": "60", "DREAMHOOK_RETENTION": "60"}
    meant = "did you mean DREAMHOOK_RETENTION"
    if command == "check":
        found = lines(ended(misspelt, "check").stdout)
        assert any(meant in each.get("detail", "") for each in found)
        return
    with started(misspelt, command) as process:
        heard(process.stderr, meant)


def test_check_names_every_setting_that_cannot_be_used(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMHOOK_PORT", "eighty")
    monkeypatch.setenv("DREAMHOOK_RETENTION", "1")
    it = run("check")
    assert it.code == 1
    assert [each["verdict"] for each in it.lines] == ["problem", "problem"]
    assert "DREAMHOOK_PORT='eighty'" in it.lines[0]["detail"]


def test_check_without_a_redis_is_code_1(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMHOOK_REDIS_URL", "redis://127.0.0.1:1")
    it = run("check")
    assert it.code == 1
    verdicts = {each["check"]: each["verdict"] for each in it.lines if "check" in each}
    assert verdicts["redis"] == "problem"


def test_the_secret_is_made_once(environment: dict[str, str]) -> None:
    first, again = (ended(environment, "secret") for _ in range(2))
    assert re.fullmatch(r"whsec_\S+\n", first.stdout)
    assert again.stdout == first.stdout


# --- up, and what it needs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("DREAMHOOK_HOST=0.0.0.0", "set DREAMHOOK_API_KEYS"),
        ("DREAMHOOK_RETENTION=1 week", "Set it to seconds"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_clear_line(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch, setting: str, remedy: str
) -> None:
    name, value = setting.split("=")
    monkeypatch.setenv(name, value)
    it = run("up")
    assert (it.code, it.out, len(it.err.splitlines())) == (1, "", 1)
    assert name in it.err
    assert remedy in it.err


def test_up_without_a_place_for_its_redis_is_one_clear_line(environment: dict[str, str]) -> None:
    it = ended(environment | {"DREAMHOOK_DATA": "/dev/null/data"}, "up")
    assert (it.returncode, it.stdout, len(it.stderr.splitlines())) == (1, "", 1)
    assert "Set DREAMHOOK_DATA" in it.stderr


@pytest.mark.parametrize("command", ["up", "serve", "work"])
def test_what_starts_before_its_redis_waits_says_so_and_can_be_stopped(
    environment: dict[str, str], command: str
) -> None:
    away = {"DREAMHOOK_REDIS_URL": "redis://127.0.0.1:1", "DREAMHOOK_PORT": "0"}
    with started(environment | away, command) as child:
        line = heard(child.stderr, r'.*"event":"waiting for redis".*')[0]
        assert "Check DREAMHOOK_REDIS_URL" in line
        child.send_signal(signal.SIGTERM)
        _, rest = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, rest) == (0, "")


def test_work_on_a_redis_that_evicts_is_one_clear_line(
    environment: dict[str, str], embedded: EmbeddedRedis
) -> None:
    with Redis.from_url(embedded.url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            settings = {"DREAMHOOK_REDIS_URL": embedded.url}
            it = ended(environment | settings, "work")
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
    assert it.returncode == 1
    assert len(it.stderr.splitlines()) == 1
    assert "Set maxmemory-policy to noeviction" in it.stderr


def test_up_on_a_taken_port_is_one_clear_line(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = {"DREAMHOOK_PORT": port}
        it = ended(environment | settings, "up")
    assert it.returncode == 1
    assert len(it.stderr.splitlines()) == 1
    assert "choose another port with DREAMHOOK_PORT" in it.stderr


def test_up_without_an_account_starts_and_says_how_to_add_one(environment: dict[str, str]) -> None:
    with started(environment, "up") as child:
        assert heard(child.stderr, r"LUMAAI_API_KEY=")
        url = heard(child.stderr, r'"url":"(http://[^"]+)"')[1]
        refused = ended(environment | {"DREAMHOOK_URL": url}, "track", "g-1")
    assert refused.returncode == 1
    assert "no account 'luma'" in refused.stderr
    assert child.returncode == 0


def test_from_an_id_to_a_webhook_on_one_machine(environment: dict[str, str]) -> None:
    with ExitStack() as stack:
        luma = stack.enter_context(started(environment, "simulate", "--port", "0"))
        base_url = heard(luma.stdout, rf"http://\S+{BASE_PATH}")[0]
        settings = {
            "LUMAAI_API_KEY": "key",
            "LUMAAI_BASE_URL": base_url,
            "DREAMHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
        }
        up = stack.enter_context(started(environment | settings, "up"))
        url = heard(up.stderr, r'"url":"(http://[^"]+)"')[1]
        environment["DREAMHOOK_URL"] = url
        secret = ended(environment, "secret").stdout.strip()
        listen = stack.enter_context(
            started(environment, "listen", "--port", "0", "--secret", secret)
        )
        receiver = heard(listen.stderr, r"http://\S+")[0]
        script = {"id": "dream-1", "queued_s": 0, "dreaming_s": 0, "outcome": "completed"}
        httpx.post(
            f"{base_url.removesuffix(BASE_PATH)}/_simulator/generations",
            json=script,
            trust_env=False,
        ).raise_for_status()

        tracked = ended(environment, "track", "dream-1", "--callback-url", receiver, "--wait")

        assert (tracked.returncode, tracked.stderr) == (0, "")
        assert lines(tracked.stdout)[0]["state"] == "completed"
        webhook = json.loads(listen.stdout.readline() if listen.stdout else "{}")
        assert (webhook["verified"], webhook["body"]["type"]) == (True, "generation.completed")
        assert webhook["body"]["data"]["generation_id"] == "dream-1"
        listed = lines(ended(environment, "list").stdout)
        assert [each["generation_id"] for each in listed] == ["dream-1"]
        assert ended(environment, "check").returncode == 0
        assert up.poll() is None, "check and secret left it alone"
        figures = lines(ended(environment, "top").stdout)[0]
        assert figures["trackers"]["completed"] == 1
        with Client(url) as client:
            event = next(client.events(types=["generation"], since="0"))
        assert event.body["event_id"] == webhook["id"]
        assert event.body["data"]["generation_id"] == "dream-1"
        until = time.monotonic() + PATIENCE_S
        while lines(ended(environment, "get", "dream-1", "--timeline").stdout)[-1]["kind"] != (
            "attempt"
        ):
            assert time.monotonic() < until


def test_the_demonstration_keeps_its_promises(environment: dict[str, str]) -> None:
    it = ended(environment, "demo", "--once")
    assert (it.returncode, it.stderr) == (0, "")
    assert it.stdout.count("signature verified") == 3
    assert (it.stdout.count("  kept  "), it.stdout.count("BROKEN")) == (4, 0)
