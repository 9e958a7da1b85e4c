"""What is served is built of the sources and of what npm has by the lock file; the first look asks for little."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "src" / "openmofi" / "plugins" / "server" / "page"
BUILT = PAGE.with_name("built")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("build", ROOT / "tools" / "page" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_what_is_committed_is_built_of_the_sources(script):
    assert f"sources {script.sources()}." in (BUILT / "README.md").read_text("utf-8"), "run make page"


def test_the_script_reproduces_what_is_committed(script, tmp_path):
    if not shutil.which("npm"):
        pytest.skip("npm is not here")
    try:
        script.build(tmp_path / "built")
    except script.Unreachable:
        pytest.skip("npm's registry cannot be reached")
    assert files(tmp_path / "built") == files(BUILT)


def test_every_package_has_its_licence_beside_it():
    said = (BUILT / "README.md").read_text("utf-8")
    packages = re.findall(r"^\| (\S+) \| [\d.]+ \| .*\((LICENSE-[\w-]+)\)", said, re.MULTILINE)
    assert {"preact", "@preact/signals", "@preact/signals-core", "htm", "photoswipe"} == {name for name, _ in packages}
    assert all((BUILT / licence).stat().st_size > 1000 for _, licence in packages)


def test_nothing_is_fetched_from_elsewhere_and_nothing_is_inline():
    own = [path for path in PAGE.rglob("*") if path.suffix in (".js", ".css", ".html")]
    assert len(own) > 20
    for path in own:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), path
        assert not re.search(r"""(?:src|href|from|import|url)\s*[=(]?\s*["']?(?:https?:)?//""", text), path
        assert len(text.splitlines()) < 300, path
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)


@pytest.mark.slow
def test_the_first_look_asks_for_six_things_and_for_nothing_twice(new_tab):
    tab = new_tab()
    asked = []
    tab.page.on("request", lambda request: asked.append(request.url.removeprefix(tab.address)))
    tab.open("", ".tile img")
    tab.page.wait_for_load_state("networkidle")
    own = [name for name in asked if not name.startswith(("data:", "about:", "api/images/"))]
    assert sorted(re.sub(r"-\w+\.", ".", name) for name in own) == [
        "",
        "api/info",
        "api/search",
        "static/app.css",
        "static/app.js",
        "static/chunk.js",
    ]
    assert len(asked) == len(set(asked))


@pytest.mark.slow
def test_what_is_fetched_later_and_fails_is_said_and_fetched_again(new_tab):
    tab = new_tab()
    tab.page.route("**/static/later-*", lambda route: route.abort())
    page = tab.open("#/entities", ".failure")
    page.mouse.click(1, 1)
    page.keyboard.press("Shift")
    assert "cannot be loaded" in page.get_by_role("alert").inner_text()
    page.unroute("**/static/later-*")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".entity-card")
