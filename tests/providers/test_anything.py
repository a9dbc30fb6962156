"""Whatever a server says, the outcome is an answer."""

from __future__ import annotations

import asyncio

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.providers.conftest import Say, http, look
from worker.model import (
    JsonObject,
    Missing,
    Refused,
    Seen,
    Throttled,
    Trouble,
)

bodies = st.binary(max_size=80) | st.builds(
    orjson.dumps,
    st.dictionaries(
        st.sampled_from(["id", "state", "assets", "model", "detail", "request", "created_at"]),
        st.sampled_from([None, "g1", "completed", {}, [], 1, True, {"video": "u"}, ["x"]]),
    ),
)
headers = st.lists(
    st.sampled_from(
        [
            "Content-Encoding: gzip",
            "Content-Encoding: x",
            "Location: /",
            "Retry-After: x",
            "Set-Cookie: =",
        ]
    ),
    max_size=3,
)
whole = st.builds(
    lambda status, body, lines: http(status, body, *lines, then="close"),
    st.integers(200, 999),
    bodies,
    headers,
)
torn = st.builds(lambda say, length: Say(say.content[:length], "close"), whole, st.integers(0, 200))
noise = st.builds(Say, st.binary(max_size=300), st.just("close"))


@settings(max_examples=60, deadline=None)
@given(st.one_of(whole, torn, noise))
def test_whatever_a_server_says_is_an_answer(said: Say) -> None:
    answer = asyncio.run(look(said, timeout_s=0.3))
    assert isinstance(answer, Seen | Missing | Refused | Throttled | Trouble)
    if isinstance(answer, Seen):
        final: JsonObject = answer.generation
        assert final["state"] == answer.provider_state
