"""A stranger's folder as the working directory: no process that a command starts imports from it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from terminal import PATIENCE

_COMMAND = """
import sys
from jobs import Factory
from openmofi.cli import main
from openmofi.engine import Quiet, engine_named
if __name__ == "__main__":
    main.app = lambda: print(engine_named(sys.argv[2]).run(Factory("square", sys.argv[1]), ["3"], Quiet()))
    main.run()
"""
_MODULES = ("multiprocessing", "pickle", "signal", "selectors", "tempfile", "json", "numpy", "pandas", "jobs")


@pytest.mark.parametrize(
    "engine",
    [
        "processes:1",
        pytest.param(
            "ray:local?cpus=1",
            marks=[
                pytest.mark.slow,
                pytest.mark.xdist_group("ray"),
                pytest.mark.skipif(not find_spec("ray"), reason="an extra"),
            ],
        ),
    ],
)
def test_workers_import_nothing_from_the_working_directory(tmp_path, engine):
    folder, tries, script, marker = (tmp_path / name for name in ("stranger", "tries", "openmofi", "ran"))
    folder.mkdir()
    tries.mkdir()
    script.write_text(_COMMAND)
    for name in _MODULES:
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write('{name} ')\n")
    tests = Path(__file__).parents[1]
    places = [tests.parent / "src", tests / "engine", *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, script, tries, engine],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=env | {"PYTHONPATH": os.pathsep.join(map(str, places))},
    )
    assert not marker.exists(), marker.read_text()
    assert "'square': 9" in done.stdout, done.stderr[-2000:]


def test_a_package_in_the_working_directory_extends_nothing(tmp_path):
    """`python -m openmofi` puts the working directory first on the path, entry points of what lies there included."""
    marker, names = tmp_path / "ran", tmp_path / "evil-1.dist-info"
    names.mkdir()
    (names / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (names / "entry_points.txt").write_text("[openmofi.protocols]\nevil = evil:PROTOCOLS\n")
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nPROTOCOLS = {{'evil': ('evil', 'evil')}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "openmofi", "eval", "--list"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "gpr1200" in done.stdout, done.stderr
    assert "evil" not in done.stdout
    assert not marker.exists()
