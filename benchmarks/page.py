"""What the first look at the page costs: requests, bytes and seconds on a slow line, in Chromium over a served index.

    python benchmarks/page.py INDEX

The line is simulated by Chromium: 400 ms there and back, 50 KB a second. Bytes are those of the network, headers among
them. Seconds are from the address to the first image.
"""

from __future__ import annotations

import argparse
import queue
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import harness
from openmofi.plugins.server import ServeSettings, serve
from openmofi.search import Index

LATENCY_MS, BYTES_A_SECOND, ROUNDS = 400, 50_000, 5


def first_load(browser: Any, address: str) -> dict[str, float]:
    """Open the page once, in a browser that has seen nothing of it.

    Returns:
        `requests` and `kb` of the page itself, `image_requests` and `image_kb`, `seconds` to the first image.
    """
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    line.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": LATENCY_MS,
            "downloadThroughput": BYTES_A_SECOND,
            "uploadThroughput": BYTES_A_SECOND,
        },
    )
    asked: dict[str, str] = {}
    figures = {"requests": 0.0, "kb": 0.0, "image_requests": 0.0, "image_kb": 0.0}
    line.on("Network.responseReceived", lambda event: asked.update({event["requestId"]: event["response"]["url"]}))

    def ended(event: dict[str, Any]) -> None:
        asked_for = asked.get(event["requestId"], "")
        if asked_for.startswith("data:"):  # in what was loaded before
            return
        kind = "image_" if "/thumbnail" in asked_for else ""
        figures[f"{kind}requests"] += 1
        figures[f"{kind}kb"] += event["encodedDataLength"] / 1000

    line.on("Network.loadingFinished", ended)
    started = time.perf_counter()
    page.goto(address)
    page.locator(".tile img").first.wait_for(timeout=120_000)
    seconds = time.perf_counter() - started
    page.wait_for_load_state("networkidle", timeout=120_000)
    page.context.close()
    return figures | {"seconds": seconds}


def main() -> None:
    """Measure, print and write `results/page.json`."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    given = parser.parse_args().index
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        started: queue.Queue[str] = queue.Queue()
        index = Index.open(shutil.copytree(given, Path(folder) / "index"))
        settings = ServeSettings(port=0, no_token=True)
        threading.Thread(target=serve, args=(index, settings), kwargs={"on_start": started.put}, daemon=True).start()
        address = started.get(timeout=60)
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        rounds = [first_load(browser, address) for _ in range(ROUNDS)]
        browser.close()
    row = {name: round(statistics.median(each[name] for each in rounds), 1) for name in rounds[0]}
    harness.write_result("page", [row], {"first_load_requests": row["requests"], "first_load_kb": row["kb"]})


if __name__ == "__main__":
    main()
