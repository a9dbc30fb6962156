"""What `listen` prints, answers and ends with, as a process of its own."""

from __future__ import annotations

import json
import signal
import socket

import httpx

from tests.cli.conftest import PATIENCE_S, SECRET, ended, heard, lines, signed, started


def test_listen_prints_a_line_for_each_webhook(environment: dict[str, str]) -> None:
    body = json.dumps({"type": "generation.failed", "data": {"generation_id": "g-1"}})
    with (
        started(environment, "listen", "--port", "0", "--secret", SECRET) as child,
        httpx.Client(trust_env=False) as http,
    ):
        url = heard(child.stderr, r"http://\S+")[0]
        answers = [
            http.post(url, content=body, headers=headers).status_code
            for headers in (signed(body), signed(body), signed(f"{body} "))
        ]
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=PATIENCE_S)
    assert answers == [200, 200, 401]
    first, again, forged = lines(output)
    assert (first["id"], first["verified"], first["duplicate"]) == ("evt_1", True, False)
    assert first["body"]["type"] == "generation.failed"
    assert (again["verified"], again["duplicate"]) == (True, True)
    assert (forged["verified"], forged["answer"]) == (False, 401)
    assert forged["reason"].startswith("no signature fits this secret and body")
    assert "an endpoint has a secret of its own" in forged["reason"]
    assert child.returncode == 0


def test_listen_can_pass_on_and_says_where_to(environment: dict[str, str]) -> None:
    with (
        started(
            environment, "listen", "--port", "0", "--secret", SECRET, "--forward-to", "[::1]:9"
        ) as child,
        httpx.Client(trust_env=False) as http,
    ):
        url = heard(child.stderr, r"(http://\S+), passing on to http://\[::1\]:9,")[1]
        body = json.dumps({"type": "generation.failed"})
        assert http.post(url, content=body, headers=signed(body)).status_code == 502
        assert child.stdout
        assert json.loads(child.stdout.readline())["answer"] == 502


def test_an_answer_and_a_target_cannot_both_be_given(environment: dict[str, str]) -> None:
    it = ended(
        environment, "listen", "--secret", SECRET, "--forward-to", "localhost:9", "--status", "204"
    )
    assert it.returncode == 2
    assert "leave --status or --forward-to out" in it.stderr


def test_listen_takes_the_secret_of_the_environment(environment: dict[str, str]) -> None:
    with started(
        environment | {"DREAMHOOK_WEBHOOK_SECRET": SECRET}, "listen", "--port", "0"
    ) as child:
        assert heard(child.stderr, r"http://\S+ until Ctrl-C")


def test_listen_without_a_secret_says_where_to_get_it(environment: dict[str, str]) -> None:
    it = ended(environment, "listen", "--port", "0")
    assert it.returncode == 2
    assert "$(dreamhook secret)" in it.stderr


def test_listen_on_a_taken_port_is_one_clear_line(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        it = ended(environment, "listen", "--port", port, "--secret", SECRET)
    assert it.returncode == 1
    assert len(it.stderr.splitlines()) == 1
    assert "choose another port with --port" in it.stderr


def test_listen_ends_when_nobody_reads_what_it_prints(environment: dict[str, str]) -> None:
    body = "{}"
    with (
        started(environment, "listen", "--port", "0", "--secret", SECRET) as child,
        httpx.Client(trust_env=False) as http,
    ):
        url = heard(child.stderr, r"http://\S+")[0]
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        http.post(url, content=body, headers=signed(body))
        assert child.wait(PATIENCE_S) == 1
        assert child.stderr.read() == ""
