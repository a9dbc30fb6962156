"""Which cell's answer is given when several have what was asked for."""

from __future__ import annotations

import json

from worker.api.cells import Cells
from worker.api.inner import Answer
from worker.model import JsonObject


def told(**endpoint: object) -> Answer:
    return Answer(200, [], json.dumps(endpoint).encode(), [])


def found(**answers: Answer) -> JsonObject:
    shape: JsonObject = Cells._found(answers).json()
    return shape


def test_an_endpoint_is_shown_as_in_the_cell_where_most_is_due() -> None:
    a, b = told(name="app", enabled=True, due=3), told(name="app", enabled=True, due=120)
    assert found(a=a, b=b)["due"] == found(a=b, b=a)["due"] == 120


def test_an_endpoint_that_is_off_anywhere_is_off() -> None:
    off, on = told(name="app", enabled=False, due=0), told(name="app", enabled=True, due=120)
    assert found(a=on, b=off)["enabled"] is False


def test_what_one_cell_has_is_found_though_another_is_away() -> None:
    away = Answer(503, [], b'{"detail": "Redis does not answer."}', [])
    missing = Answer(404, [], b'{"detail": "There is none."}', [])
    assert found(a=away, b=missing, c=told(id="dlv_1"))["id"] == "dlv_1"
