"""The documents say what the code does: links, settings, routes, commands, examples."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import typer
from pydantic import AliasChoices, BaseModel

import worker.store
from worker import config, config_accounts, delivery_policy, jobs, signing
from worker.api import bodies, create_app, schemas, submitted, watching
from worker.api.accounts import Account
from worker.cli.app import app as cli

ROOT = Path(__file__).parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
DEPLOYMENT = [ROOT / name for name in ("Dockerfile", "compose.yaml", ".env.example")]

SETTING = re.compile(r"DREAMHOOK_(?!TEST_)[A-Z_]+[A-Z]")


def read(name: str) -> str:
    return (ROOT / name).read_text()


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def after(text: str, marker: str, language: str) -> str:
    """Find the fenced block that follows `<!-- marker`."""
    found = re.search(rf"<!-- {marker}.*?```{language}\n(.*?)```", text, re.DOTALL)
    assert found, f"no {language} block after <!-- {marker}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Read all table rows of a document."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


# --- links ----------------------------------------------------------------------------------------


def links() -> Iterator[tuple[Path, str]]:
    for page in DOCS:
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
            if "://" not in target:
                yield page, target


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as GitHub does."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize(
    ("page", "target"),
    sorted({*links()}),
    ids=lambda each: each.name if isinstance(each, Path) else each,
)
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    assert there.is_file()
    assert not anchor or anchor in anchors(there)


def test_every_document_can_be_reached_from_the_readme() -> None:
    named = {
        (ROOT / t.partition("#")[0]).resolve() for page, t in links() if page.name == "README.md"
    }
    assert set(DOCS) - {ROOT / "README.md"} <= named


# --- settings -------------------------------------------------------------------------------------


def variables(*models: type[BaseModel]) -> set[str]:
    found: set[str] = set()
    for model in models:
        for field in model.model_fields.values():
            alias = field.validation_alias
            names = alias.choices if isinstance(alias, AliasChoices) else [alias]
            found |= {str(name) for name in names}
    return found


VARIABLES = variables(config.Settings, config.ClientSettings, *config_accounts.SHORTCUTS.values())


@pytest.mark.parametrize("page", [*DOCS, *DEPLOYMENT], ids=lambda page: page.name)
def test_every_setting_that_is_named_exists(page: Path) -> None:
    assert set(SETTING.findall(page.read_text())) <= VARIABLES


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_every_setting_is_in_the_settings_tables(name: str) -> None:
    assert any(f"`{name}`" in row[0] for row in rows(read("docs/settings.md")))


def test_every_default_in_the_settings_tables_is_the_real_one() -> None:
    described = [*config.Settings.load({}).describe(), *config.ClientSettings.load({}).describe()]
    real = {row.name: row.value for row in described}
    real["DREAMHOOK_DATA"] = "~/.dreamhook"
    tables = [row for row in rows(read("docs/settings.md")) if row[0].strip("`") in real]
    assert len(tables) == len(real)
    for name, default, *_ in tables:
        assert default.strip("`") == real[name.strip("`")], name


# --- routes and commands --------------------------------------------------------------------------


def test_the_api_document_has_the_routes_of_the_api_and_no_others() -> None:
    rooms: Any = {"glances": None, "submitting": None}
    spec = create_app(*cast("Any", 5 * [None]), **rooms).openapi()
    real = {(verb.upper(), path) for path, verbs in spec["paths"].items() for verb in verbs}
    named = re.findall(r"`(GET|PUT|POST|DELETE|PATCH) (/[^`?]*)`", read("docs/api.md"))
    apart = {("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json")}
    assert set(named) - apart == real


COMMANDS: dict[str, Any] = cast("Any", typer.main.get_command(cli)).commands


@pytest.mark.parametrize("page", [*DOCS, *DEPLOYMENT], ids=lambda page: page.name)
def test_every_command_that_is_shown_can_be_typed(page: Path) -> None:
    code = re.findall(r"```.*?```|`[^`\n]*`|^ {4}.*$", page.read_text(), re.DOTALL | re.MULTILINE)
    for command, rest in re.findall(r"\bdreamhook ([a-z]+)([^`\n]*)", "\n".join(code)):
        assert command in COMMANDS
        typed = COMMANDS[command]
        if word := re.match(r" ([a-z]+)", rest):  # a command of a group, such as endpoints
            typed = getattr(typed, "commands", {}).get(word[1], typed)
        options = {name for each in typed.params for name in each.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options


def test_every_command_is_in_a_document() -> None:
    text = "\n".join(page.read_text() for page in DOCS)
    assert {name for name in COMMANDS if f"`{name}`" in text or f"dreamhook {name}" in text} == set(
        COMMANDS
    )


# --- examples -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "marker", "model"),
    [
        ("docs/api.md", "problem", schemas.Problem),
        ("docs/api.md", "tracker", schemas.Tracker),
        ("docs/api.md", "submission", submitted.Submission),
        ("docs/api.md", "delivery", schemas.Delivery),
        ("docs/api.md", "account", Account),
        ("docs/api.md", "stats", watching.Stats),
        ("docs/api.md", "endpoint", schemas.Endpoint),
        ("docs/webhooks.md", "event body", bodies.Event),
        ("docs/webhooks.md", "notice body", bodies.Notice),
    ],
)
def test_an_example_is_what_the_api_answers(page: str, marker: str, model: type[BaseModel]) -> None:
    # These models forbid what they do not know and demand all that they do.
    model.model_validate_json(after(read(page), marker, "json"))


async def test_the_receiver_in_the_readme_takes_a_signed_webhook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = signing.new_secret(bytes(range(32)))
    body = after(read("docs/webhooks.md"), "event body", "json").encode()
    headers = signing.headers("evt_1", int(time.time()), body, [secret])
    async with readme_receiver(monkeypatch, secret) as client:
        answer = await client.post("/hooks/luma", content=body, headers=headers)
    assert answer.is_success
    assert "generation.completed" in capsys.readouterr().out


async def test_the_receiver_in_the_readme_takes_nothing_that_was_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = signing.new_secret(bytes(range(32)))
    headers = signing.headers("evt_1", int(time.time()), b'{"state": "failed"}', [secret])
    async with readme_receiver(monkeypatch, secret) as client:
        changed = await client.post(
            "/hooks/luma", content=b'{"state": "completed"}', headers=headers
        )
        unsigned = await client.post("/hooks/luma", content=b"{}")
        garbled = await client.post(
            "/hooks/luma", content=b"{}", headers=headers | {"webhook-signature": "v1"}
        )
    assert [each.status_code for each in (changed, unsigned, garbled)] == [400, 400, 400]


def readme_receiver(monkeypatch: pytest.MonkeyPatch, secret: str) -> httpx.AsyncClient:
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    code = after(read("README.md"), "python receiver", "python")
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec", dont_inherit=True), names)
    transport = httpx.ASGITransport(names["app"])
    return httpx.AsyncClient(transport=transport, base_url="http://receiver")


def test_the_test_vector_verifies() -> None:
    _, table = read("docs/webhooks.md").split("<!-- test vector")
    vector = {name.strip("`"): value.strip("`") for name, value in rows(table)[:7]}
    headers = {name: vector[name] for name in vector if name.startswith("webhook-")}
    now = float(vector["webhook-timestamp"])
    signing.verify(headers, vector["body"].encode(), vector["secret"], now)


# --- figures and names ----------------------------------------------------------------------------


def test_the_retry_schedule_is_the_one_that_is_kept() -> None:
    line = next(each for each in read("docs/webhooks.md").splitlines() if "20 h, 20 h" in each)
    units = {"s": 1, "min": 60, "h": 3600}
    shown = [float(n) * units[unit] for n, unit in re.findall(r"(\d+) (s|min|h)\b", line)]
    assert tuple(shown) == delivery_policy.RETRY_SCHEDULE


def test_compose_gives_a_worker_the_time_to_finish_what_it_has_in_hand() -> None:
    _, work = read("compose.yaml").split("\n  work:\n")
    grace = re.search(r"stop_grace_period: (\d+)s", work)
    assert grace
    assert int(grace[1]) >= jobs.GRACE_S + 5


def test_every_room_of_the_house_is_on_a_floor() -> None:
    _, floors = read("docs/architecture.md").split("## Floors")
    named = {name for row in rows(floors) if row[0][0].isdigit() for name in _code(row[1])}
    rooms = {each.name.removesuffix(".py") for each in (ROOT / "worker").iterdir()}
    closets = {"config_accounts", "config_cells", "config_redis", "config_unknown", "config_values"}
    closets |= {
        "checkup_providers",
        "embedded_guard",
        "jobs_outage",
        "jobs_starting",
        "wiring_redis",
    }
    rooms -= {"__init__", "__pycache__", "py.typed", "listing_ranks", *closets}
    assert named == rooms


def test_every_redis_key_is_explained() -> None:
    _, keys = read("docs/architecture.md").split("## Keys in Redis")
    shown = set(_code(keys.split("## ")[0]))
    listed = re.findall(r"^ {4}(\S.*?) {2,}\w", str(worker.store.__doc__), re.MULTILINE)
    assert listed
    assert {name for names in listed for name in names.split(", ")} <= shown


def _code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)
