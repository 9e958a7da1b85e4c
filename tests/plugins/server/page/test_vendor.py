"""What is vendored is what npm has, by the lock file."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "src" / "openmofi" / "plugins" / "server" / "page"


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_script_reproduces_what_is_committed(tmp_path):
    if not shutil.which("npm"):
        pytest.skip("npm is not here")
    spec = importlib.util.spec_from_file_location("vendor", ROOT / "tools" / "page" / "vendor.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    try:
        script.vendor(tmp_path / "vendor")
    except subprocess.CalledProcessError:
        pytest.skip("npm's registry cannot be reached")
    assert files(tmp_path / "vendor") == files(PAGE / "vendor")


def test_nothing_is_fetched_from_elsewhere_and_nothing_is_inline():
    own = [path for path in PAGE.rglob("*") if path.suffix in (".js", ".css", ".html") and "vendor" not in path.parts]
    assert len(own) > 20
    for path in own:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), path
        assert not re.search(r"""(?:src|href|from|import|url)\s*[=(]?\s*["']?(?:https?:)?//""", text), path
        assert len(text.splitlines()) < 300, path
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)


def test_every_import_is_there():
    for path in PAGE.rglob("*.js"):
        for name in re.findall(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""", path.read_text(encoding="utf-8")):
            assert (path.parent / name).is_file(), (path, name)
