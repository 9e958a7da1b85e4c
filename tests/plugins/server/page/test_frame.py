"""`index.show()`: the page in a frame of another page, as a notebook has it."""

import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType

import httpx2
import pytest
from page_world import address_of, opened
from search_world import colour_encoder

from openmofi.errors import MissingExtraError, UsageError
from openmofi.plugins.server import ServeSettings
from openmofi.plugins.server.context import Context
from openmofi.plugins.server.frames import show
from openmofi.search import Index


class IFrame:
    def __init__(self, src, width, height, **_):
        self.src, self.width, self.height = src, width, height

    def _repr_html_(self):
        return f'<iframe width="{self.width}" height="{self.height}" src="{self.src}"></iframe>'


@pytest.fixture
def notebook(monkeypatch):
    """IPython as far as it is asked for."""
    display = ModuleType("IPython.display")
    display.IFrame = IFrame
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)


@pytest.fixture
def shown(index, notebook, monkeypatch):
    """An index of its own, whose `show` is that of these sources."""
    monkeypatch.setattr("openmofi.search.index.own_part", lambda group, name: {("views", "page"): show}[group, name])
    mine = Index.open(index.path, colour_encoder())
    yield mine
    mine.close()


@contextmanager
def page_with(html):
    """The address of a page that a notebook's server would give, by the name localhost."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_notebook_shows_the_page_and_its_images_in_a_frame(chromium, shown):
    frame = shown.show(height=600)
    assert (frame.width, frame.height) == ("100%", 600)
    with page_with(frame._repr_html_()) as address:
        tab = opened(chromium, address)
        tab.page.goto(address)
        inside = tab.page.frame_locator("iframe")
        inside.locator("main h1, main h2").first.wait_for()
        picture = inside.locator("main img").first
        picture.wait_for()
        assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0
        assert "token" not in tab.page.frames[1].url
        cookie = next(each for each in tab.page.context.cookies(frame.src.partition("?")[0]))
        assert (cookie["sameSite"], cookie["secure"], cookie["httpOnly"]) == ("None", True, True)
        tab.page.context.close()
    assert tab.faults == []


@pytest.mark.slow
def test_signing_out_in_the_frame_ends_its_session(chromium, shown):
    with page_with(shown.show()._repr_html_()) as address:
        tab = opened(chromium, address)
        tab.page.goto(address)
        tab.page.frame_locator("iframe").locator("main h1, main h2").first.wait_for()
        asked = "async () => (await fetch('api/info')).status"
        before = tab.page.frames[1].evaluate(asked)
        tab.page.frames[1].evaluate("fetch('api/session', {method: 'DELETE'})")
        assert (before, tab.page.frames[1].evaluate(asked)) == (200, 401)
        assert tab.page.context.cookies() == []
        tab.page.context.close()


@pytest.mark.slow
def test_a_verdict_is_given_inside_of_the_frame(chromium, shown):
    with page_with(shown.show()._repr_html_()) as address:
        tab = opened(chromium, address)
        tab.page.goto(address)
        tab.page.frame_locator("iframe").locator("main img").first.wait_for()
        label = {"shard": "images", "key": "red-1", "entity": "c:red", "verdict": "y"}
        status = tab.page.frames[1].evaluate(
            "async body => (await fetch('api/verdicts', {method: 'POST', body: JSON.stringify([body]), "
            "headers: {'Content-Type': 'application/json'}})).status",
            label,
        )
        tab.page.context.close()
    assert status == 201
    (said,) = shown.verdicts("c:red")
    shown.undo_verdict(said.id)


def test_an_address_opens_the_page_once(shown):
    first, second = shown.show().src, shown.show().src
    assert first != second
    assert first.partition("?")[0] == second.partition("?")[0]
    answers = [httpx2.get(each) for each in (first, first, second)]
    assert [each.status_code for each in answers] == [303, 401, 303]
    assert "once" in answers[1].json()["error"]
    assert "show()" in answers[1].json()["hint"]
    assert httpx2.get(first.partition("?")[0] + "api/info").status_code == 401


def test_there_is_nothing_beside_the_path_that_the_address_names(shown):
    address = shown.show().src
    base, _, ticket = address.partition("?")
    root = f"{base.rstrip('/').rpartition('/')[0]}/"
    assert len(base) - len(root) >= 20
    for path in ("", f"?{ticket}", "healthz", "api/info", "static/", base[len(root) : -1], f"{base[len(root) : -2]}x/"):
        answer = httpx2.get(root + path)
        assert (answer.status_code, answer.headers["x-frame-options"]) == (404, "DENY")
    answer = httpx2.get(address)
    assert (answer.status_code, answer.headers["location"]) == (303, base[len(root) - 1 :])
    assert answer.headers["referrer-policy"] == "no-referrer"  # nobody is told the path
    assert f"Path={base[len(root) - 1 : -1]};" in answer.headers["set-cookie"]


def test_a_server_on_another_port_gets_no_cookie(chromium, shown):
    """Browsers send cookies to all ports of a host, so the path alone keeps it."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            got.append(self.headers.get("Cookie"))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    other = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    with page_with(shown.show()._repr_html_()) as address:
        tab = opened(chromium, address)
        tab.page.goto(address)
        inside = tab.page.frame_locator("iframe")
        inside.locator("main h1, main h2").first.wait_for()
        assert tab.page.frames[1].evaluate("async () => (await fetch('api/info')).status") == 200
        picture = (
            "address => new Promise(done => { const image = new Image(); image.onerror = done; image.src = address })"
        )
        tab.page.evaluate(picture, f"http://127.0.0.1:{other.server_port}/x.png")
        tab.page.context.close()
    other.shutdown()
    other.server_close()
    assert got == [None]


def test_an_address_lapses_after_ten_minutes(index):
    now = [0.0]
    context = replace(Context.of(index, ServeSettings(no_token=True)), clock=lambda: now[0])
    early, late = context.ticket(), context.ticket()
    now[0] = 599.0
    assert context.admits(early)
    now[0] = 600.0
    assert not context.admits(late)


def test_only_pages_of_this_machine_may_frame_it(shown, index):
    policy = httpx2.get(shown.show().src).headers
    assert "x-frame-options" not in policy
    assert "frame-ancestors http://127.0.0.1:* http://localhost:*;" in policy["content-security-policy"]
    other = httpx2.get(address_of(index)).headers
    assert other["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in other["content-security-policy"]
    with pytest.raises(UsageError):
        ServeSettings(host="0.0.0.0", token="x" * 32, framed=True)


def test_a_page_of_another_host_frames_nothing(chromium, shown):
    html = shown.show()._repr_html_()
    tab = opened(chromium, "http://evil.example/")
    tab.page.route(tab.address, lambda route: route.fulfill(body=html, content_type="text/html"))
    tab.page.goto(tab.address)  # until it is loaded, and so is its frame
    assert tab.page.frames[1].url.startswith("chrome-error:")
    tab.page.context.close()


def test_the_page_ends_with_the_index(shown):
    address = shown.show().src
    threads = {each.name for each in threading.enumerate()}
    assert "openmofi-page" in threads
    shown.close()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(address)
    assert shown.info().images > 0  # the index itself opens again
    assert httpx2.get(shown.show().src).status_code == 303


def test_without_ipython_a_sentence(index, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    monkeypatch.setattr("openmofi.search.index.own_part", lambda *_: show)
    with pytest.raises(MissingExtraError, match="pip install ipython"):
        index.show()
