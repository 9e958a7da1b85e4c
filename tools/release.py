"""The release checklist: every step runs, and the first that fails ends it. Publishes nothing by itself.

`python tools/release.py [--list] [--from STEP]`
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable


def version() -> str:
    """The version that the package says it has."""
    found = re.search(r'__version__ = "([^"]+)"', (ROOT / "src/openmofi/version.py").read_text())
    if found is None:
        sys.exit("src/openmofi/version.py names no version.")
    return found[1]


def command(*words: str) -> Callable[[], str]:
    """A step that is a command; what it prints is shown as it comes."""

    def run() -> str:
        done = subprocess.run(words, cwd=ROOT)
        return f"`{' '.join(words)}` ended with {done.returncode}" if done.returncode else ""

    return run


def output(*words: str) -> str:
    """What a command prints."""
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def committed() -> str:
    """Nothing uncommitted, and no tag of this version yet."""
    if changed := output("git", "status", "--porcelain"):
        return f"there are uncommitted changes:\n{changed}"
    return f"the tag v{version()} exists" if output("git", "tag", "--list", f"v{version()}") else ""


def named_alike() -> str:
    """The version stands in the changelog, with today's date, and in CITATION.cff."""
    heading = f"## {version()} – {datetime.date.today().isoformat()}"
    if heading not in (ROOT / "CHANGELOG.md").read_text("utf-8"):
        return f"CHANGELOG.md has no heading {heading!r}"
    return "" if f"\nversion: {version()}\n" in (ROOT / "CITATION.cff").read_text("utf-8") else "CITATION.cff differs"


STEPS: dict[str, tuple[str, Callable[[], str]]] = {
    "committed": ("nothing is uncommitted, the tag is free", committed),
    "version": ("changelog and citation name the version", named_alike),
    "lint": ("style, types, floors of the house", command("make", "lint")),
    "test": ("all tests", command("make", "test")),
    "openclip4": ("encoders with open_clip 4", command("make", "test-openclip4")),
    "docs": ("the site builds, and no link is broken", command("make", "docs")),
    "docker": ("the Dockerfile's lint (nothing is built)", command("hadolint", "Dockerfile")),
    "wheel": ("wheel and sdist; the tiny demo from the wheel alone", command(PYTHON, "tools/wheel.py")),
    "demo": ("the whole demo, whose figures README shows", command("make", "demo")),
}


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--list", action="store_true", help="only say what is done")
    options.add_argument("--from", dest="first", choices=STEPS, default="committed", help="go on with this step")
    given = options.parse_args()
    for name in list(STEPS)[list(STEPS).index(given.first) :]:
        what, step = STEPS[name]
        print(f"[{name}] {what}", flush=True)
        if not given.list and (problem := step()):
            sys.exit(f"[{name}] not done: {problem}\n  Put it right, then: python tools/release.py --from {name}")
    print(f"""then, by a person:
  compare runs/demo/metrics.json with the tables of README.md
  docker build . && docker build --target cuda .
  git tag -s v{version()} && git push --tags
  {PYTHON} -m twine upload dist/*
  publish site/""")


if __name__ == "__main__":
    main()
