"""An account's key, put where its provider wants it."""

from __future__ import annotations

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model import Account
from worker.providers import credentials
from worker.providers.spec import Auth, load

NOW_S = 1_767_225_600
BEARER = Auth(header="Authorization", value="Bearer {api_key}")
QUERY = Auth(query="key", value="{api_key}")
SECRET = "a secret key of at least 32 bytes"


def account(api_key: str) -> Account:
    return Account(name="a", provider="a", api_key=api_key, base_url="http://a")


def test_a_header_carries_the_key() -> None:
    sent = credentials.header_of(BEARER, account("k"), now_s=NOW_S)
    assert sent == {b"Authorization": b"Bearer k"}
    assert credentials.query_of(BEARER, account("k"), now_s=NOW_S) == ""


def test_a_query_parameter_carries_the_key_quoted() -> None:
    assert credentials.query_of(QUERY, account("k&x=y"), now_s=NOW_S) == "key=k%26x%3Dy"
    assert credentials.header_of(QUERY, account("k&x=y"), now_s=NOW_S) == {}


@pytest.mark.parametrize("auth", [BEARER, QUERY])
def test_without_a_key_nothing_is_sent(auth: Auth) -> None:
    assert credentials.header_of(auth, account(""), now_s=NOW_S) == {}
    assert credentials.query_of(auth, account(""), now_s=NOW_S) == ""


def test_a_token_is_what_a_library_of_others_verifies() -> None:
    sent = credentials.header_of(load("kling").auth, account(f"access:{SECRET}"), now_s=NOW_S)
    token = sent[b"Authorization"].removeprefix(b"Bearer ")
    claims = jwt.decode(
        token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False}
    )
    assert claims == {"iss": "access", "exp": NOW_S + 1800, "nbf": NOW_S - 5}
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


def test_the_secret_is_not_in_the_token() -> None:
    assert SECRET not in credentials.jwt(f"access:{SECRET}", now_s=NOW_S)


@given(st.text(), st.integers(0, 2**40))
def test_whatever_the_key_is_a_token_is_made_of_it(api_key: str, now_s: int) -> None:
    assert credentials.jwt(api_key, now_s=now_s).count(".") == 2
