"""The `openmofi` command as a person meets it: an exit code and two streams."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

Done = subprocess.CompletedProcess[str]
PATIENCE = 1500.0
"""Seconds after which what has not come counts as hanging: many times what anything takes on a busy machine."""


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "openmofi", *map(str, arguments)]


def openmofi(*arguments: str | Path, **options: object) -> Done:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=PATIENCE, **options)  # type: ignore[call-overload]


def in_process(*arguments: str | Path, cwd: str | Path = ".") -> Done:
    """As `openmofi`, but in this process, which has the libraries loaded: where no process is needed for its own sake.

    It begins as a process does, without handlers of the log, and leaves environment, folder and log as they were.
    """
    from openmofi.cli.main import run

    args, log, code = command(*arguments), logging.getLogger(), 0
    with (
        contextlib.redirect_stdout(io.StringIO()) as stdout,
        contextlib.redirect_stderr(io.StringIO()) as stderr,
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "argv", ["openmofi", *args[3:]]),
        mock.patch.object(log, "handlers", []),
        mock.patch.object(log, "level", log.level),
    ):
        try:
            run()
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(args, code, stdout.getvalue(), stderr.getvalue())


def sentence(done: Done, code: int = 1) -> str:
    """The error's message, after checking that it is one sentence, with at most a hint below, and nothing else."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    start = next((place for place, line in enumerate(lines) if line.startswith("error: ")), None)
    assert start is not None, done.stderr
    assert all(re.match(r"\w+: \d+/\d+,|WARNING |engine \w+", line) for line in lines[:start]), done.stderr
    message, hint = lines[start].removeprefix("error: "), lines[start + 1 :]
    assert message.endswith((".", "?")), message
    assert not hint or (len(hint) == 1 and hint[0].startswith("  ")), done.stderr
    return message
