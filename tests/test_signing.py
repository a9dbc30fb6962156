"""Signatures: the published vectors, the PyPI verifiers, and what neither may accept."""

from __future__ import annotations

import base64
import time

import pytest
import standardwebhooks
import svix
from hypothesis import given
from hypothesis import strategies as st

from worker import signing
from worker.errors import InvalidInputError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NOW = 1_700_000_000
ID = "evt_01J"

secrets = st.binary(min_size=24, max_size=64)
ids = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)


@pytest.mark.parametrize(
    ("secret", "event_id", "timestamp_s", "body", "signature"),
    [  # printed in the tests of the standardwebhooks libraries
        (
            SECRET,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            OLD_SECRET,
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1649367553,
            b'{"email":"test@example.com","username":"test_user"}',
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
    ],
)
def test_the_published_vectors_come_out(
    secret: str, event_id: str, timestamp_s: int, body: bytes, signature: str
) -> None:
    assert signing.sign(event_id, timestamp_s, body, [secret]) == signature
    headers = signing.headers(event_id, timestamp_s, body, [secret])
    signing.verify(headers, body, secret, now_s=timestamp_s)


@given(st.lists(secrets, min_size=1, max_size=4), ids, st.text())
def test_the_pypi_verifiers_accept_every_live_secret(
    live: list[bytes], event_id: str, text: str
) -> None:
    body = text.encode()
    headers = signing.headers(event_id, int(time.time()), body, live)
    for secret in live:
        shown = signing.new_secret(secret)
        standardwebhooks.Webhook(shown).verify(body, headers, json_parse=False)
        svix.Webhook(shown).verify(body, headers)


@given(st.lists(secrets, min_size=1, max_size=4))
def test_one_item_per_secret_with_single_spaces(live: list[bytes]) -> None:
    items = signing.sign(ID, NOW, b"x", live).split(" ")
    assert items == [signing.sign(ID, NOW, b"x", [secret]) for secret in live]
    assert all(item.startswith("v1,") and item.count(",") == 1 for item in items)


def test_the_headers_have_the_names_and_forms_of_the_standard() -> None:
    assert signing.headers(ID, NOW, b"{}", [SECRET]) == {
        "webhook-id": ID,
        "webhook-timestamp": "1700000000",
        "webhook-signature": signing.sign(ID, NOW, b"{}", [SECRET]),
    }


@pytest.mark.parametrize("event_id", ["", "a.b", "a b", "a\n", "é", "a" * 129])
def test_an_id_that_could_be_read_two_ways_is_not_signed(event_id: str) -> None:
    with pytest.raises(ValueError, match="event ID"):
        signing.sign(event_id, NOW, b"", [SECRET])


def test_nothing_is_signed_without_a_secret_or_before_1970() -> None:
    with pytest.raises(ValueError, match="secret"):
        signing.sign(ID, NOW, b"", [])
    with pytest.raises(ValueError, match="1970"):
        signing.sign(ID, -1, b"", [SECRET])


# --- secrets --------------------------------------------------------------------------------------


@given(secrets)
def test_a_secret_survives_being_written_and_read(secret: bytes) -> None:
    assert signing.parse_secret(signing.new_secret(secret)) == secret


@pytest.mark.parametrize("length", [0, 23, 65])
def test_a_secret_of_another_length_is_neither_written_nor_read(length: int) -> None:
    with pytest.raises(ValueError, match="24 to 64"):
        signing.new_secret(bytes(length))
    with pytest.raises(InvalidInputError):
        signing.parse_secret("whsec_" + base64.b64encode(bytes(length)).decode())


BYTES_WITH_PADDING = base64.b64encode(b"\xff" * 25).decode()


@pytest.mark.parametrize(
    "text",
    [
        *("", "whsec_", "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SECRET.removeprefix("whsec_")),
        *("whsk_" + "A" * 64, f" {SECRET}", f"{SECRET}\n", f"{SECRET}==", "whsec_!!!!", "whsec_é"),
        "whsec_" + BYTES_WITH_PADDING.rstrip("="),
        "whsec_" + BYTES_WITH_PADDING.replace("/", "_"),
        "whsec_" + BYTES_WITH_PADDING.replace("w==", "x=="),
    ],
)
def test_a_secret_in_any_other_spelling_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        signing.parse_secret(text, "DREAMHOOK_WEBHOOK_SECRET")
    assert refused.value.field == "DREAMHOOK_WEBHOOK_SECRET"
    assert len(text) < len("whsec_") + 1 or text not in str(refused.value)


# --- verification ---------------------------------------------------------------------------------


def signed(body: bytes = b"{}", at: int = NOW) -> dict[str, str]:
    return signing.headers(ID, at, body, [SECRET])


def test_a_good_item_counts_among_foreign_and_broken_ones() -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1a,xx  v1 , v1,é v2,yy {headers['webhook-signature']} "
    signing.verify({name.title(): value for name, value in headers.items()}, b"{}", SECRET, NOW)


@pytest.mark.parametrize("off", [-300, 300])
def test_a_message_within_the_tolerance_is_accepted(off: int) -> None:
    signing.verify(signed(), b"{}", SECRET, NOW + off)


@pytest.mark.parametrize("off", [-301, 301, 86_400])
def test_a_message_from_another_time_is_refused(off: int) -> None:
    with pytest.raises(signing.SignatureError, match="timestamp"):
        signing.verify(signed(), b"{}", SECRET, NOW + off)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    headers = signed()
    del headers[name]
    with pytest.raises(signing.SignatureError, match=name):
        signing.verify(headers, b"{}", SECRET, NOW)


@pytest.mark.parametrize(
    "timestamp", ["", "hello", "1700000000.5", "1.7e9", "-1", "nan", "\u0661", " 1700000000"]
)
def test_a_timestamp_that_is_no_plain_number_is_refused(timestamp: str) -> None:
    with pytest.raises(signing.SignatureError, match="malformed"):
        signing.verify({**signed(), "webhook-timestamp": timestamp}, b"{}", SECRET, NOW)


GOOD = signing.sign(ID, NOW, b"{}", [SECRET])


@pytest.mark.parametrize(
    "signature",
    [
        *("", " ", "v1", "v1,", GOOD[:8], GOOD[:-1], GOOD + "=", GOOD.removeprefix("v1,")),
        *(GOOD.replace("v1", "v2"), GOOD.replace("v1", "V1"), GOOD.replace("v1,", "v1,,")),
        *(GOOD.replace("v1,", "v1, "), f"{GOOD},{GOOD}", GOOD.swapcase()),
    ],
)
def test_a_signature_that_only_looks_like_one_is_refused(signature: str) -> None:
    with pytest.raises(signing.SignatureError, match="no signature fits"):
        signing.verify({**signed(), "webhook-signature": signature}, b"{}", SECRET, NOW)


@given(st.binary(), st.binary(), st.integers(-299, 299))
def test_no_other_body_id_time_or_secret_verifies(body: bytes, other: bytes, shift: int) -> None:
    headers = signed(body)
    attempts = [
        (headers, body, OLD_SECRET),
        ({**headers, "webhook-id": "evt_other"}, body, SECRET),
    ]
    if other != body:
        attempts.append((headers, other, SECRET))
    if shift:
        attempts.append(({**headers, "webhook-timestamp": str(NOW + shift)}, body, SECRET))
    for tampered, received, secret in attempts:
        with pytest.raises(signing.SignatureError, match="no signature fits"):
            signing.verify(tampered, received, secret, NOW)
