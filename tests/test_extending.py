"""The package of docs/extending.md: built and installed as it stands there, found, and used by the commands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openmofi import extensions
from openmofi.evaluation.run import protocols
from terminal import PATIENCE, in_process, sentence

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text("utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Where the page's package is installed."""
    folder = tmp_path_factory.mktemp("hashtags")
    files = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
    assert set(files) == {"pyproject.toml", "hashtags.py"}
    for name, text in files.items():
        (folder / name).write_text(text)
    install = "-m pip install --quiet --no-deps --no-build-isolation --no-index --disable-pip-version-check --target"
    subprocess.run([sys.executable, *install.split(), folder / "site", folder], check=True, timeout=PATIENCE)
    return folder / "site"


def run(site, *arguments):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run([sys.executable, "-m", "openmofi", *map(str, arguments)], capture_output=True, text=True,
                          env=env, timeout=PATIENCE)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def found(site, monkeypatch):
    """This process has the package on its path, and looks for packages anew, then and afterwards."""
    monkeypatch.syspath_prepend(site)
    looked_for = (extensions._all, protocols)
    for cached in looked_for:
        cached.cache_clear()
    yield
    for cached in looked_for:
        cached.cache_clear()


@pytest.fixture(scope="module")
def labels(site, small_world, tmp_path_factory):
    out = tmp_path_factory.mktemp("labels") / "labels"
    arguments = [
        "--kb",
        small_world.kb,
        "--encoder",
        "tiny",
        "--detector",
        "gazetteer+hashtags",
        "--linker",
        "popular:2",
    ]
    done = run(site, "label", small_world.shards, *arguments, "-o", out, "--engine", "local", "--json")
    assert done.stderr == ""
    assert json.loads(done.stdout)["rows_in"] == len(small_world.truth)
    return out


def test_its_detector_and_linker_label(labels):
    manifest = json.loads((labels / "manifest.json").read_text())
    assert "gazetteer+hashtags" in json.dumps(manifest)
    assert "popular:2" in json.dumps(manifest)


def test_its_format_is_exported(found, labels, tmp_path):
    assert in_process("dataset", "build", labels, "-o", tmp_path / "dataset", "--min-images", "1").returncode == 0
    done = in_process("dataset", "export", tmp_path / "dataset", "--format", "csv", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out" / "labels.csv").read_text().splitlines()
    assert lines
    assert all(re.fullmatch(r"[^,]+,[^,]+", line) for line in lines)


def test_its_protocol_is_run(found, tmp_path):
    (tmp_path / "a.png").touch()
    done = in_process("eval", "image-count", "--data", tmp_path, "--json")
    assert json.loads(done.stdout)["metrics"]["image-count/images"] == 1


def test_without_it_the_names_are_unknown(tmp_path):
    done = in_process("eval", "image-count", "--data", tmp_path)
    assert "Unknown protocol 'image-count'" in sentence(done, 2)


@pytest.mark.parametrize("where", ["insert(0, {!r})", "append({!r})"], ids=["before ours", "after ours"])
def test_no_package_takes_a_name_of_ours(tmp_path, where):
    package = tmp_path / "taker-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: taker\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[openmofi.trackers]\nwandb = collections:Counter\nnobodys = collections:Counter\n"
    )
    script = f"import sys; sys.path.{where.format(str(tmp_path))}\nfrom openmofi.extensions import extension as find\n"
    script += "print(find('trackers', 'wandb').__module__, find('trackers', 'nobodys').__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.split() == ["openmofi.plugins.trackers", "Counter"]
