"""The page in Chromium, driven by its DevTools protocol; $OPENMOFI_CHROMIUM names another than the one on the path."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from judged_page import page_data
from openmofi.dataset.objects import Labels
from openmofi.review.verdicts import read_verdicts
from terminal import PATIENCE

CHROMIUM = os.environ.get("OPENMOFI_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")]
KEYS = {"ArrowLeft": 37, "ArrowRight": 39}


class Browser:
    def __init__(self, folder: Path) -> None:
        self.folder, self.number, self.faults = folder, 0, []

    async def __aenter__(self):
        import aiohttp

        self.process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
                f"--user-data-dir={self.folder / 'profile'}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port = self.folder / "profile" / "DevToolsActivePort"
        while not (port.exists() and "\n" in port.read_text()):
            assert self.process.poll() is None
            await asyncio.sleep(0.1)
        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://127.0.0.1:{port.read_text().split()[0]}/json") as answer:
            tab = next(tab for tab in await answer.json() if tab["type"] == "page")
        self.socket = await self.session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")
        await self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.folder))
        return self

    async def __aexit__(self, *_):
        await self.session.close()
        self.process.terminate()
        self.process.wait()

    async def send(self, method, **parameters):
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while (message := json.loads((await self.socket.receive()).data)).get("id") != self.number:
            if message["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.faults.append(message)
        return message["result"]

    async def value(self, script):
        return (await self.send("Runtime.evaluate", expression=script, returnByValue=True))["result"].get("value")

    async def until(self, script):
        while not await self.value(script):
            await asyncio.sleep(0.1)

    async def press(self, *keys):
        for key in keys:
            code = {"key": key, "windowsVirtualKeyCode": KEYS.get(key) or ord(key.upper())}
            await self.send("Input.dispatchKeyEvent", type="keyDown", **code)
            await self.send("Input.dispatchKeyEvent", type="keyUp", **code)

    async def text(self, name):
        return await self.value(f"document.getElementById('{name}').innerText")


LOADED = "!window.reloading && document.readyState === 'complete' && document.getElementById('place')?.textContent"


async def judged_after_reload(browser):
    await browser.value("window.reloading = true")
    await browser.send("Page.reload")
    await browser.until(LOADED)
    return await browser.text("state")


async def look(page, folder):
    async with Browser(folder) as browser:
        await browser.send("Page.navigate", url=page.as_uri())
        await browser.until(LOADED)
        first = page_data(page)["items"][0]
        assert await browser.text("name") == first["name"]
        assert await browser.value("document.getElementById('picture').naturalWidth") == 96
        assert await browser.value("document.querySelectorAll('mark.claimed').length") >= 1
        assert "0." not in await browser.value("document.body.innerText")  # no probability before the verdict
        await browser.press("y", "n", "u", "y", "ArrowLeft")
        assert await browser.text("place") == "4 of 30"
        assert (
            await browser.text("said") == f"you said yes; the labels gave it probability "
            f"{page_data(page)['items'][3]['probability']:.2f}"
        )
        await browser.value("""localStorage.setItem(storeName + nameOf(items[9]), '{"verdict": "y", "when": ""}')""")
        await browser.press("n", "ArrowLeft", "ArrowLeft", "ArrowRight")
        assert await browser.value("document.getElementById('n').ariaPressed") == "true"
        # Now and then Chromium gives a reloaded page an empty localStorage; this tab has its own verdicts even so.
        while (state := await judged_after_reload(browser)) != "5 judged":
            assert state == "4 judged; this browser keeps nothing: save before you close the page"
        assert await browser.text("place") == "5 of 30"
        await browser.value("document.getElementById('u').click()")
        await browser.press("s")
        saved = folder / "verdicts.json"
        while not saved.exists():
            await asyncio.sleep(0.1)
        await browser.value("localStorage.clear()")
        assert (await judged_after_reload(browser)).startswith("6 judged; this browser keeps nothing")
        assert await browser.value("localStorage.length") == 6
        assert browser.faults == []
        return saved


def test_judge_reload_and_save(world, lookup, tmp_path):
    labels, page = Labels.open(world.labels), tmp_path / "page.html"
    labels.audit_page(page, sample=30, kb=lookup)
    saved = asyncio.run(asyncio.wait_for(look(page, tmp_path), PATIENCE))
    # The last one is another tab's, which wrote it between two verdicts of this one.
    assert [verdict.verdict for verdict in read_verdicts(saved).verdicts] == ["y", "n", "u", "n", "u", "y"]
    items = page_data(page)["items"]
    assert [verdict.label for verdict in read_verdicts(saved).verdicts] == [
        (item["shard"], item["key"], item["entity"]) for item in (*items[:5], items[9])
    ]
    corrected = labels.corrected(saved, kb=lookup)
    assert (corrected.unsure, corrected.unjudged) == (2, 24)


async def look_for_a_guarantee(page, folder):
    async with Browser(folder) as browser:
        await browser.send("Page.navigate", url=page.as_uri())
        await browser.until(LOADED)
        count = len(page_data(page)["items"])
        assert f"Judge all {count} before you save." in await browser.value("document.body.innerText")
        command = "openmofi label audit 'my labels' --verdicts verdicts.json"
        assert command in await browser.value("document.body.innerText")
        await browser.press("y", "ArrowRight", *"y" * (count - 2))
        assert await browser.text("left") == (
            "1 label has no verdict yet. A guarantee takes one on each: say unsure where you cannot tell."
        )
        await browser.press("s")
        assert await browser.text("state") == (
            f"saved {count - 1} verdicts as verdicts.json; judge the other 1 and save again before you use it"
        )
        await browser.value("document.getElementById('open').click()")
        assert await browser.text("place") == f"2 of {count}"
        await browser.press("u", *["ArrowRight"] * count)
        assert await browser.text("left") == "All labels are judged."
        assert await browser.value("document.getElementById('open').hidden")
        assert browser.faults == []


def test_a_page_for_a_guarantee_asks_for_all_of_its_labels(world, lookup, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my labels").symlink_to(world.labels)
    Labels.open("my labels").audit_page(
        tmp_path / "page.html", sample=12, kb=lookup, target_precision=0.9, confidence=0.9
    )
    asyncio.run(asyncio.wait_for(look_for_a_guarantee(tmp_path / "page.html", tmp_path), PATIENCE))
