"""The dashboard in a real browser, in front of a real Dreamhook."""

from __future__ import annotations

import itertools
import json
import re
import socket
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from worker import listener

from .conftest import API_KEY, READ_KEY, Open
from .stage import Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES = ["", "trackers", "deliveries", "endpoints", "accounts", "find/nothing"]
MISSES = ("404 (Not Found)",)
PATIENCE_MS = 60_000
"""For a hold that has grown while pages were looked at."""

PHONE = {"width": 360, "height": 740}


async def delivered(stage: Stage, name: str, state: str = "delivered") -> dict[str, Any]:
    """Wait until what is owed for a generation has come so far."""

    async def found() -> dict[str, Any] | None:
        return next((d for d in await stage.deliveries(name) if d["state"] == state), None)

    delivery: dict[str, Any] = await until(found)
    return delivery


async def attempted(stage: Stage, name: str) -> dict[str, Any]:
    """Wait until there has been an attempt at what is owed for a generation."""

    async def found() -> dict[str, Any] | None:
        return next((d for d in await stage.deliveries(name) if d["attempts"]), None)

    delivery: dict[str, Any] = await until(found)
    return delivery


def at(stage: Stage, place: str) -> str:
    return f"{stage.url}/#/{place}"


# --- overview and lists -------------------------------------------------------------------------


async def test_the_overview_shows_figures_and_the_latest(stage: Stage, open_page: Open) -> None:
    await stage.track("over-1")
    page = (await open_page(stage.url)).page
    await expect(page.locator(".tile", has_text="Tracking")).to_contain_text(re.compile("[1-9]"))
    await expect(page.get_by_role("link", name="over-1")).to_be_visible()
    await expect(page.get_by_role("img", name="Ends per minute")).to_be_visible()
    await expect(page.locator("#live")).to_have_text("Live")


async def test_a_list_shows_one_state_and_pages(stage: Stage, open_page: Open) -> None:
    for number in range(27):
        await stage.track(f"list-{number:02}")
    page = (await open_page(at(stage, "trackers?state=tracking"))).page
    rows = page.locator("ul.rows > li")
    await expect(rows).to_have_count(25)
    await expect(rows.first).to_contain_text("list-26")
    await page.get_by_role("link", name="Older").click()
    await expect(page.get_by_role("link", name="list-00")).to_be_visible()
    await page.get_by_role("link", name="Newest").click()
    await expect(rows.first).to_contain_text("list-26")
    await page.get_by_role("link", name=re.compile("expired")).click()
    await expect(page.get_by_text("None here.")).to_be_visible()


async def test_an_account_in_trouble_is_shown_with_why(stage: Stage, open_page: Open) -> None:
    await stage.track("bad-1", account="spare")
    page = (await open_page(stage.url)).page
    await expect(page.locator(".troubles")).to_contain_text("account spare: credentials rejected")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("needs attention")
    await page.goto(at(stage, "accounts"))
    card = page.locator("main > .card", has=page.get_by_role("heading", name="spare"))
    await expect(card).to_contain_text(re.compile(r"held, probe (in \d+ s|under way); 401 Unauth"))
    await page.goto(at(stage, "trackers/spare/bad-1"))
    held = re.compile(r"account held, probe (in \d+ s|under way); 401 Unauthorized")
    await expect(page.locator("p.why")).to_have_text(held)
    await expect(page.locator(".timeline")).to_contain_text("rejects the credentials of account")
    await page.goto(at(stage, "trackers"))
    await expect(page.locator("a.row", has_text="bad-1").locator(".why")).to_have_text(held)


async def test_a_tracker_says_that_nobody_looks_at_it(stage: Stage, open_page: Open) -> None:
    await stage.track("still-1")

    async def deserted(route: Route) -> None:
        stats = await (await route.fetch()).json()
        await route.fulfill(json=stats | {"workers": 0})

    page = (await open_page(stage.url)).page
    await page.route("**/v1/stats", deserted)
    await page.goto(at(stage, "trackers/luma/still-1"))
    await expect(page.locator("p.why")).to_have_text("No worker is running")


# --- a tracker's page ---------------------------------------------------------------------------


async def test_a_tracker_is_followed_live_until_its_webhook(stage: Stage, open_page: Open) -> None:
    await stage.track("live-1")
    page = (await open_page(at(stage, "trackers/luma/live-1"))).page
    await expect(page.get_by_role("heading", level=1)).to_have_text("tracking")
    await expect(page.locator(".journey")).to_contain_text("dreaming")
    await expect(page.locator(".timeline .ahead")).to_contain_text(
        re.compile(r"Next look in \d+ s")
    )
    await stage.end("live-1")
    await expect(page.get_by_role("heading", level=1)).to_have_text("completed")
    await expect(page.locator(".journey")).to_contain_text("delivered")
    line = page.locator(".timeline")
    await expect(line).to_contain_text("Event generation.completed")
    await expect(line).to_contain_text("Attempt 1: HTTP 204")
    await expect(page.get_by_role("status")).to_have_text("It is completed.")


async def test_looks_that_saw_the_same_are_one_step(stage: Stage, open_page: Open) -> None:
    path = await stage.track("looks-1")
    for seen in range(1, 4):

        async def is_seen(wanted: int = seen) -> bool:
            tracker = await stage.get(path)
            return bool(tracker["polls"] >= wanted)

        await until(is_seen)
        await stage.api.post(f"{path}/poll")
    page = (await open_page(at(stage, "trackers/luma/looks-1"))).page
    step = page.locator(".timeline li", has_text="dreaming")
    await expect(step).to_have_count(1)
    await expect(step).to_contain_text(re.compile(r"[3-9] looks over"))


async def test_lists_tell_which_webhooks_have_not_come_and_why(
    stage: Stage, open_page: Open
) -> None:
    stage.receiver.answers |= {"/late": (503, ""), "/off": (410, "")}
    for name, hook in (("why-late", "late"), ("why-off", "off"), ("why-told", "ok")):
        await stage.track(name, hook)
        await stage.end(name)
    await attempted(stage, "why-late")
    await delivered(stage, "why-off", "exhausted")
    await delivered(stage, "why-told")
    stage.receiver.answers.clear()
    words = {
        "why-late": re.compile(r"completed.*pending next in [^;]+; HTTP 503"),
        "why-off": re.compile("completed.*exhausted HTTP 410; its endpoint was off"),
        "why-told": re.compile("completed.*delivered"),
    }
    for place in ("", "trackers"):
        page = (await open_page(at(stage, place))).page
        for name, said in words.items():
            await expect(page.locator("a.row", has_text=name)).to_have_text(said)
    await page.goto(stage.url)
    trouble = page.locator(".troubles li", has=page.get_by_role("link", name=f"{stage.hooks}late"))
    await expect(trouble).to_contain_text("late: HTTP 503")
    await trouble.get_by_role("link").click()
    await expect(page.locator("summary.row", has_text="why-late")).to_contain_text("HTTP 503")


async def test_what_waits_for_a_receiver_that_is_not_there_says_so_until_it_is_back(
    stage: Stage, open_page: Open
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    hook = f"http://127.0.0.1:{port}/hook"
    for name in ("held-1", "held-2", "held-3"):  # the third failure in a row opens the breaker
        await stage.track(name, to=hook)
        await stage.end(name)
        await attempted(stage, name)
    for name in ("held-4", "held-5", "held-6"):  # two that go as probes before it
        await stage.track(name, to=hook)
        await stage.end(name)
    held = re.compile(r"held, probe (in \d+ s|now|under way); the connection was refused")

    page = (await open_page(at(stage, "deliveries"))).page
    await expect(page.locator("summary.row", has_text="held-6")).to_contain_text(held)
    await page.goto(at(stage, "trackers"))
    await expect(page.locator("a.row", has_text="held-6")).to_contain_text(held)
    await page.goto(stage.url)
    await expect(page.locator(".troubles li", has_text=hook)).to_contain_text("held, probe")
    await page.goto(at(stage, "endpoints"))
    card = page.locator(".card", has=page.get_by_role("heading", name=hook))
    await expect(card).to_contain_text(held)
    await page.goto(at(stage, "trackers/luma/held-6"))
    await expect(page.locator(".journey")).to_contain_text(held)
    why = page.locator(".timeline li", has_text=f"127.0.0.1:{port} is not there")
    await expect(why).to_contain_text("attempts in a row failed (the connection was refused)")
    await page.get_by_role("button", name="Send the webhook now").click()
    await expect(page.get_by_role("status")).to_contain_text("is not there")

    async with listener.listening(stage.receiver, port=port):
        await expect(page.locator(".journey")).to_contain_text("delivered", timeout=PATIENCE_MS)
        await expect(why).to_have_count(0)
        await expect(page.locator(".timeline")).to_contain_text(
            re.compile(r"HTTP 204.* in \d.*, held for \d")
        )
        for name in ("held-1", "held-2", "held-3", "held-4", "held-5"):
            [delivery] = await stage.deliveries(name)
            await stage.api.post(f"/v1/deliveries/{delivery['id']}/replay")
            await delivered(stage, name)


async def test_a_look_that_fails_is_told(stage: Stage, open_page: Open) -> None:
    await stage.api.put("/v1/trackers/luma/nobody-1", json={})
    page = (await open_page(at(stage, "trackers"))).page
    row = page.locator("a.row", has_text="nobody-1")
    await expect(row.locator(".why")).to_contain_text("404")
    await row.click()
    await expect(page.locator("p.why")).to_contain_text("404")


async def test_an_address_with_a_stray_percent_sign_is_a_page(
    stage: Stage, open_page: Open
) -> None:
    page = (await open_page(at(stage, "trackers/%"))).page
    await expect(page.get_by_role("heading", level=1)).to_have_text("Trackers")
    odd = await open_page(at(stage, "trackers/luma/%ff%"), allowed=MISSES)
    await expect(odd.page.get_by_role("heading", level=1)).to_have_text("Not to be had")


@pytest.mark.parametrize(
    ("slowest", "labels"),
    [(0.004, 3), (0.2, 4), (50, 6), (5000, 9), (86_400, 10)],
)
async def test_the_latency_chart_has_few_round_labels(
    stage: Stage, open_page: Open, slowest: float, labels: int
) -> None:
    async def slow(route: Route) -> None:
        stats = await (await route.fetch()).json()
        for each in stats["last_hour"]:  # what other tests have had delivered
            each |= {"delivered": 0, "latency_p50_s": None, "latency_p95_s": None}
        minute = {"delivered": 3, "latency_p50_s": slowest / 2, "latency_p95_s": slowest}
        stats["last_hour"][-1] |= minute
        await route.fulfill(json=stats)

    page = (await open_page(stage.url)).page
    await page.route("**/v1/stats", slow)
    await page.reload()
    scale = page.locator("figure", has_text="Webhook latency").locator(".scale span")
    await expect(scale).to_have_count(labels)
    await expect(scale.last).to_have_text("1 ms")
    boxes = [await each.bounding_box() for each in await scale.all()]
    tops = [box["y"] for box in boxes if box]
    assert all(low - high >= 11 for high, low in itertools.pairwise(tops))


async def test_look_now_and_cancel(stage: Stage, open_page: Open) -> None:
    path = await stage.track("act-1")
    page = (await open_page(at(stage, "trackers/luma/act-1"))).page
    await page.get_by_role("button", name="Look now").click()
    await expect(page.get_by_role("status")).to_have_text("It is due now.")
    await page.get_by_role("button", name="Cancel tracking").click()
    await page.get_by_role("button", name="Back").click()
    assert (await stage.get(path))["state"] == "tracking"
    await page.get_by_role("button", name="Cancel tracking").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel tracking").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("canceled")


async def test_a_failed_webhook_shows_the_answer_and_is_replayed(
    stage: Stage, open_page: Open
) -> None:
    stage.receiver.answers["/replay"] = (500, "the disk is full")
    await stage.track("replay-1", "replay")
    await stage.end("replay-1")
    await attempted(stage, "replay-1")
    page = (await open_page(at(stage, "trackers/luma/replay-1"))).page
    await expect(page.locator(".timeline .ahead")).to_contain_text("Next attempt in")
    await page.get_by_text("Its answer").click()
    await expect(page.get_by_text("the disk is full")).to_be_visible()
    del stage.receiver.answers["/replay"]
    await page.get_by_role("button", name="Send the webhook now").click()
    await expect(page.locator(".journey")).to_contain_text("delivered")
    await expect(page.get_by_text("the disk is full")).to_be_visible()  # it stays open
    await page.get_by_role("button", name="Replay").click()
    await expect(page.locator(".timeline")).to_contain_text("replay", ignore_case=False)
    await expect(page.locator(".journey")).to_contain_text("3 attempts")


async def test_a_result_is_shown_when_it_is_asked_for(stage: Stage, open_page: Open) -> None:
    await stage.track("show-1", None, model="photon-1")
    await stage.end("show-1")
    page = (await open_page(stage.url)).page
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(at(stage, "trackers/luma/show-1"))
    show = page.get_by_role("button", name="Show the image")
    await expect(show).to_be_visible()
    assert not [url for url in asked if "result" in url]
    await show.click()
    image = page.get_by_role("img", name="image")
    await expect(image).to_be_visible()
    await expect(image).to_have_js_property("naturalWidth", 16)


# --- search, keyboard ---------------------------------------------------------------------------


async def test_an_id_is_found_from_the_keyboard(stage: Stage, open_page: Open) -> None:
    await stage.track("find-1")
    page = (await open_page(stage.url, allowed=MISSES)).page
    await expect(page.get_by_role("link", name="find-1")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type(" find-1 ")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("What happened")).to_be_visible()
    assert page.url.endswith("#/trackers/luma/find-1")


async def test_an_id_that_is_not_tracked_is_said_to_be_not(stage: Stage, open_page: Open) -> None:
    page = (await open_page(stage.url, allowed=MISSES)).page
    await page.get_by_role("searchbox").fill("<b>nobody</b>")
    await page.get_by_role("searchbox").press("Enter")
    await expect(page.locator(".empty")).to_contain_text("<b>nobody</b> is not tracked")


async def test_what_has_the_focus_is_seen_and_keeps_it(stage: Stage, open_page: Open) -> None:
    await stage.track("focus-1")
    page = (await open_page(at(stage, "trackers/luma/focus-1"))).page
    button = page.get_by_role("button", name="Look now")
    await button.wait_for()
    await page.keyboard.press("Tab")
    for _ in range(30):
        if await button.evaluate("(it) => it === document.activeElement"):
            break
        await page.keyboard.press("Tab")
    assert await button.evaluate("(it) => getComputedStyle(it).outlineStyle") == "solid"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("It is due now.")
    async with page.expect_response(re.compile("/v1/stats")):
        await stage.track("focus-2")
    async with page.expect_response(re.compile("/v1/stats")):
        await expect(button).to_be_focused()
    await expect(button).to_be_focused()


async def test_who_goes_to_another_page_starts_at_its_heading(
    stage: Stage, open_page: Open
) -> None:
    page = (await open_page(stage.url)).page
    await page.get_by_role("link", name="Accounts").press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Accounts")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await expect(page).to_have_title("Accounts · Dreamhook")


# --- a hidden tab -------------------------------------------------------------------------------

HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


async def test_a_hidden_tab_rests_and_goes_on_where_it_was(stage: Stage, open_page: Open) -> None:
    await stage.track("hide-1")
    page = (await open_page(at(stage, "trackers/luma/hide-1"))).page
    await expect(page.locator("#live")).to_have_text("Live")
    await page.evaluate(HIDE, True)  # noqa: FBT003
    await expect(page.locator("#live")).to_have_text("Paused")
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.url))
    await stage.end("hide-1")
    await delivered(stage, "hide-1")
    assert asked == []
    async with page.expect_request(re.compile("/v1/events")) as again:
        await page.evaluate(HIDE, False)  # noqa: FBT003
    assert re.fullmatch(r"\d+-\d+", (await again.value).headers["last-event-id"])
    await expect(page.get_by_role("heading", level=1)).to_have_text("completed")


# --- endpoints ----------------------------------------------------------------------------------


async def test_an_endpoint_is_tested_and_its_secret_rotated(stage: Stage, open_page: Open) -> None:
    await stage.api.put("/v1/endpoints/studio", json={"url": f"{stage.hooks}studio"})
    page = (await open_page(at(stage, "endpoints"))).page
    card = page.locator(".card", has=page.get_by_role("heading", name="studio"))
    await card.get_by_role("button", name="Rotate secret").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Rotate").click()
    await expect(dialog.locator("code")).to_have_text(re.compile("^whsec_"))
    await dialog.get_by_role("button", name="I have it").click()
    await expect(card).to_contain_text("2 secrets")
    assert "whsec_" not in await page.content()
    await card.get_by_role("button", name="Send a test").click()
    row = page.locator("ul.rows > li")
    await expect(row).to_contain_text("endpoint.test")
    await expect(row).to_contain_text("delivered")


async def test_an_endpoint_is_enabled_as_it_was(stage: Stage, open_page: Open) -> None:
    path = "/v1/endpoints/asleep"
    body = {"url": f"{stage.hooks}asleep", "headers": {"X-Team": "video"}, "concurrency": 3}
    await stage.api.put(path, json={**body, "enabled": False, "events": ["generation.failed"]})
    before = await stage.get(path)
    page = (await open_page(at(stage, "endpoints"))).page
    card = page.locator(".card", has=page.get_by_role("heading", name="asleep"))
    await expect(card).to_contain_text("it was switched off")
    await card.get_by_role("button", name="Enable").click()
    await expect(card.locator(".badge")).to_have_text("on")
    assert await stage.get(path) == {**before, "enabled": True, "disabled_reason": None}


async def test_all_that_failed_is_replayed(stage: Stage, open_page: Open) -> None:
    stage.receiver.answers["/gone"] = (410, "")
    await stage.track("gone-1", "gone")
    await stage.end("gone-1")
    await delivered(stage, "gone-1", "exhausted")
    stage.receiver.answers.clear()
    page = (await open_page(at(stage, "endpoints"))).page
    card = page.locator(".card", has=page.get_by_role("heading", name=f"{stage.hooks}gone"))
    await card.get_by_role("button", name="Enable").click()
    await card.get_by_label("Since when").select_option("day")
    await card.get_by_role("button", name="Replay all").click()
    await expect(page.get_by_role("status")).to_have_text("1 owed again.")
    await delivered(stage, "gone-1")


# --- keys ---------------------------------------------------------------------------------------

REFUSED = ("401 (Unauthorized)",)


async def enter(page: Page, key: str) -> None:
    await page.get_by_label("Key", exact=True).fill(key)
    await page.get_by_role("button", name="Open").click()


async def test_a_key_is_asked_for_and_kept_for_the_tab(locked: Stage, open_page: Open) -> None:
    await locked.track("key-1")
    page = (await open_page(locked.url, allowed=REFUSED)).page
    await enter(page, "wrong")
    await expect(page.get_by_text("That key is not known.")).to_be_visible()
    await enter(page, API_KEY)
    await expect(page.get_by_role("link", name="key-1")).to_be_visible()
    await expect(page.locator("#live")).to_have_text("Live")
    await page.reload()
    await expect(page.get_by_role("link", name="key-1")).to_be_visible()
    assert await page.evaluate("localStorage.length") == 0


async def test_a_read_key_sees_and_cannot_act(locked: Stage, open_page: Open) -> None:
    await locked.track("key-2")
    await locked.end("key-2")
    await delivered(locked, "key-2")
    page = (await open_page(at(locked, "trackers/luma/key-2"), allowed=REFUSED)).page
    await enter(page, READ_KEY)
    await expect(page.get_by_text("Attempt 1: HTTP 204")).to_be_visible()
    await expect(page.get_by_text("This key may only look.")).to_be_visible()
    await expect(page.get_by_role("button", name=re.compile("Show"))).not_to_have_count(0)
    others = page.get_by_role("button").filter(has_not_text="Show the")
    await expect(others).to_have_count(0)
    await page.goto(at(locked, "endpoints"))
    await expect(page.locator(".card")).to_have_count(1)
    await expect(page.get_by_role("button")).to_have_count(0)


# --- what must never run ------------------------------------------------------------------------

HOSTILE = (
    "<img src=x onerror=\"document.body.id='owned'\"><script>document.body.id='owned'</script>"
)


async def test_what_others_send_is_shown_and_never_runs(stage: Stage, open_page: Open) -> None:
    stage.receiver.answers["/hostile"] = (500, HOSTILE)
    await stage.track("evil-1", "hostile")
    await stage.end("evil-1", HOSTILE)
    await attempted(stage, "evil-1")
    page = (await open_page(at(stage, "trackers/luma/evil-1"))).page
    await expect(page.locator(".why")).to_have_text(HOSTILE)
    await page.get_by_text("Its answer").click()
    await expect(page.locator(".timeline pre")).to_have_text(HOSTILE)
    await page.goto(at(stage, "trackers"))
    await expect(page.get_by_role("link", name="evil-1")).to_contain_text(HOSTILE)
    assert await page.evaluate("document.body.id") == ""
    assert await page.locator("main img, main script").count() == 0


async def test_only_urls_of_the_web_become_links(stage: Stage, open_page: Open) -> None:
    path = await stage.track("evil-2")
    shape = await stage.get(path)
    shape["assets"] = {
        "video": "javascript:document.body.id='owned'",
        "image": "data:text/html,<script>1</script>",
        "audio": " java\tscript:1",
    }

    async def lie(route: Route) -> None:
        await route.fulfill(body=json.dumps(shape), content_type="application/json")

    page = (await open_page(stage.url)).page
    await page.route(f"**{path}", lie)
    await page.goto(at(stage, "trackers/luma/evil-2"))
    await expect(page.get_by_text("data:text/html")).to_be_visible()
    assert await page.locator("aside a, aside button").count() == 0


async def test_the_policy_keeps_what_is_not_ours_from_running(
    stage: Stage, open_page: Open
) -> None:
    watched = await open_page(stage.url, allowed=("policy:", "TrustedHTML", "Content Security"))
    page = watched.page
    await page.locator(".tile").first.wait_for()
    refused = await page.evaluate(
        "() => { try { document.body.innerHTML = '<p>'; } catch (error) { return error.name; } }"
    )
    assert refused == "TypeError"


# --- how it looks -------------------------------------------------------------------------------

# Every text, with the first background behind it that is not transparent.
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([...all]) => all.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (node) => {
    const own = rgba(getComputedStyle(node).backgroundColor);
    return own[3] || !node.parentElement ? own : behind(node.parentElement);
  };
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.nodeValue.trim() || !node.checkVisibility()) continue;
    const two = [rgba(getComputedStyle(node).color), behind(node)].map(light);
    const contrast = (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
    if (contrast < 4.5) found.push(`${walk.currentNode.nodeValue.trim()}: ${contrast.toFixed(2)}`);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_is_readable(stage: Stage, open_page: Open, scheme: str) -> None:
    stage.receiver.answers["/unread"] = (500, "no")
    await stage.track(f"read-{scheme}", "unread")
    await stage.end(f"read-{scheme}", "it was not to be")
    await attempted(stage, f"read-{scheme}")
    page = (await open_page(stage.url, color_scheme=scheme, allowed=MISSES)).page
    for place in [*PAGES, f"trackers/luma/read-{scheme}"]:
        await page.goto(at(stage, place))
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert await page.evaluate(CONTRASTS) == [], place
    ground = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 150) == (scheme == "dark")


async def test_a_phone_scrolls_one_way_only(stage: Stage, open_page: Open) -> None:
    name = "a-generation-with-an-id-of-a-good-many-letters-" + "0123456789" * 8
    stage.receiver.answers["/narrow"] = (500, "0123456789" * 30)
    await stage.track(name, "narrow")
    await stage.end(name, "0123456789" * 20)
    await attempted(stage, name)
    page = (await open_page(stage.url, viewport=PHONE, allowed=MISSES)).page
    for place in [*PAGES, f"trackers/luma/{name}"]:
        await page.goto(at(stage, place))
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        for summary in await page.locator("summary").all():
            await summary.click()
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], place


async def test_nothing_moves_by_itself(stage: Stage, open_page: Open) -> None:
    page = (await open_page(stage.url)).page
    await expect(page.locator("#live")).to_have_text("Live")
    assert await page.evaluate("document.getAnimations().length") == 0
