"""The page in Chromium over a served index; $OPENMOFI_CHROMIUM names another than the one on the path."""

import os
import shutil

import pytest
from page_world import address_of, opened, page_index

from openmofi.search import Query

CHROMIUM = os.environ.get("OPENMOFI_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""


@pytest.fixture(scope="session")
def index(tmp_path_factory):
    return page_index(tmp_path_factory.mktemp("page-world"))


@pytest.fixture(scope="session")
def whole(index):
    """What the page says of all images; near-duplicates are folded."""
    return f"{index.search(Query(limit=1)).total} images"


@pytest.fixture(scope="session")
def address(index):
    return address_of(index)


# Playwright's loop runs in this thread as long as it is open: other modules' tests may want one of their own.
@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("there is no Chromium here: apt-get install chromium, or name one by $OPENMOFI_CHROMIUM")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def new_tab(chromium, address):
    """Makes tabs, of which none may have complained, nor been refused anything that was not expected."""
    tabs = []

    def make(where=address, **settings):
        tabs.append(opened(chromium, where, **settings))
        return tabs[-1]

    yield make
    for tab in tabs:
        tab.page.context.close()
        assert tab.faults == []


@pytest.fixture
def tab(new_tab):
    return new_tab()
