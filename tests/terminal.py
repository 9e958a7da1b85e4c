"""The `openmofi` command as a person meets it: a process with an exit code and two streams."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

Done = subprocess.CompletedProcess[str]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "openmofi", *map(str, arguments)]


def openmofi(*arguments: str | Path, **options: object) -> Done:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload]


def sentence(done: Done, code: int = 1) -> str:
    """The error's message, after checking that it is one sentence, with at most a hint below, and nothing else."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    start = next((place for place, line in enumerate(lines) if line.startswith("error: ")), None)
    assert start is not None, done.stderr
    assert all(re.match(r"\w+: \d+/\d+,|WARNING |engine \w+", line) for line in lines[:start]), done.stderr
    message, hint = lines[start].removeprefix("error: "), lines[start + 1:]
    assert message.endswith((".", "?")), message
    assert not hint or (len(hint) == 1 and hint[0].startswith("  ")), done.stderr
    return message
