"""Takes the pictures that the documents show: `python -m tests.web.screenshots`."""

from __future__ import annotations

import asyncio
import math
import random
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Route, expect

from .stage import Stage, chromium, staged, until

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESKTOP = {"width": 1120, "height": 760}
PHONE = {"width": 390, "height": 844}
TOLD = "63c2c9b5-b143-4242-bb3f-f5ab57ba27c2"
RUNNING = "850801bf-539e-47cc-9654-29a8c5f3ca03"
UNTOLD = "d4f0a7c2-6e1b-4c55-8a3e-2b9d7f10c6e8"
FAILED = "bbe7aecc-711d-4ad1-9428-07c9c17b76a7"
PICTURES = [
    ("overview", "", DESKTOP),
    ("tracker", f"trackers/luma/{TOLD}", DESKTOP),
    ("running", f"trackers/luma/{RUNNING}", DESKTOP),
    ("endpoints", "endpoints", DESKTOP),
    ("accounts", "accounts", DESKTOP),
    ("phone-overview", "", PHONE),
    ("phone-tracker", f"trackers/luma/{TOLD}", PHONE),
]
IN_THE_DARK = {"overview", "tracker"}


async def main() -> None:
    """Play a little story, then take a picture of each page, of some in the dark too."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data:
        async with staged(Path(data), retry_schedule="3,600") as stage, chromium() as browser:
            await _play(stage)
            for name, place, size in PICTURES:
                url = f"{stage.url}/#/{place}"
                await _picture(browser, url, name, size=size, scheme="light")
                if name in IN_THE_DARK:
                    await _picture(browser, url, f"{name}-dark", size=size, scheme="dark")


async def _play(stage: Stage) -> None:
    """Some complete, one fails, one is told late, one is not told, one is still running."""
    await stage.api.put("/v1/endpoints/studio", json={"url": f"{stage.hooks}studio"})
    stage.receiver.answers["/late"] = (503, "Back in a minute.")
    for number in range(12):
        name = f"{number:x}7d1f6c1-5f0c-4f6b-9d53-0f6c1a2b3c4d"
        await stage.track(name, "studio")
        if number not in {7, 8}:
            await stage.end(name)
    await stage.track(FAILED, "studio")
    await stage.end(FAILED, "Advanced prompt moderation failed")
    stage.receiver.answers["/orders"] = (500, "relation orders does not exist")
    await stage.track(UNTOLD, "orders")
    await stage.end(UNTOLD)
    for name in (TOLD, RUNNING):
        path = await stage.track(name, "late")
        for looks in range(1, 4):
            await until(lambda path=path, looks=looks: _looked(stage, path, looks))
            await asyncio.sleep(1.2)  # so that the looks are apart in the picture
            await stage.api.post(f"{path}/poll")
    await stage.end(TOLD)
    await until(lambda: _tried(stage))
    del stage.receiver.answers["/late"]
    await until(lambda: _told(stage))


async def _looked(stage: Stage, path: str, looks: int) -> bool:
    return bool((await stage.get(path))["polls"] >= looks)


async def _tried(stage: Stage) -> bool:
    return any(each["attempts"] for each in await stage.deliveries(TOLD))


async def _told(stage: Stage) -> bool:
    return any(each["state"] == "delivered" for each in await stage.deliveries(TOLD))


async def _an_hour_passed(route: Route) -> None:
    """Fill in the last hour: the story took seconds, and a chart of one bar shows little."""
    stats = await (await route.fetch()).json()
    chance = random.Random(7)
    for place, minute in enumerate(stats["last_hour"]):
        ends = round(9 + 5 * math.sin(place / 9) + chance.random() * 4)
        half, more = 0.02 * chance.lognormvariate(0, 0.3), chance.lognormvariate(1.4, 0.7)
        minute |= {"completed": ends, "failed": int(chance.random() < 0.2), "delivered": ends}
        minute |= {"latency_p50_s": half, "latency_p95_s": half * max(1, more)}
    await route.fulfill(json=stats)


async def _picture(
    browser: Browser, url: str, name: str, *, size: dict[str, int], scheme: str
) -> None:
    context = await browser.new_context(viewport=size, color_scheme=scheme, locale="en-GB")  # type: ignore[arg-type]
    page = await context.new_page()
    await page.route("**/v1/stats", _an_hour_passed)
    await page.goto(url)
    await expect(page.locator("#live")).to_have_text("Live")
    await page.evaluate("document.activeElement.blur()")
    await page.screenshot(path=IMAGES / f"{name}.png", full_page=size is DESKTOP)
    await context.close()


if __name__ == "__main__":
    asyncio.run(main())
