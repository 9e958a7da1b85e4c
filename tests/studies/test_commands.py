"""`python -m studies.NAME` as a person meets it: options, JSON, sentences and exit codes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from studies import comparison, fusion, fusion_claim, linkers, noisy, paper, real, reinforced
from studies.command import run_command

OPTIONS = {
    comparison: ("--out", "--full", "--set", "--json"),
    fusion: ("--out", "--set", "--curve", "--json"),
    fusion_claim: ("--out", "--set", "--json"),
    real: ("--out", "--demo", "--json"),
    noisy: ("--out", "--demo", "--json"),
    paper: ("--out", "--demo", "--set", "--engine", "--json"),
    linkers: ("--linker", "--out", "--demo", "--max-entities", "--json"),
    reinforced: ("--out", "--demo", "--set", "--max-entities", "--json"),
}


def left(command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["study", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        run_command(command)
    return exit_.value.code or 0


@pytest.mark.parametrize("study", OPTIONS, ids=lambda study: study.__name__)
def test_every_help_names_its_options(study, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert left(study.main, monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"(?m)^\s+(-\w, )?{option}\b", text) for option in OPTIONS[study])
    assert left(study.main, monkeypatch, "--nosuch") == 2


def test_a_comparison_without_its_demo_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert left(comparison.main, monkeypatch, "-o", tmp_path) == 1
    assert capsys.readouterr() == (
        "",
        f"error: {tmp_path}/metrics.json does not exist.\n  Run: openmofi sample demo -o {tmp_path}\n",
    )


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted: what is finished is kept; start the same command again to go on\n"),
        (KeyboardInterrupt("add --resume"), 130, "interrupted: add --resume\n"),
        (ValueError("x"), 1, "internal error: ValueError: x\n  Set OPENMOFI_DEBUG=1 for the traceback.\n"),
    ],
)
def test_errors_become_sentences_and_exit_codes(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(fusion, "run_fusion", fail)
    monkeypatch.delenv("OPENMOFI_DEBUG", raising=False)
    assert left(fusion.main, monkeypatch, "--json") == code
    assert capsys.readouterr() == ("", message)
    monkeypatch.setenv("OPENMOFI_DEBUG", "1")
    assert left(fusion.main, monkeypatch, "--json") == code
    assert "Traceback" in capsys.readouterr().err


def test_options_reach_the_study_and_json_is_all_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(fusion, "run_fusion", lambda out, progress, **options: {"out": str(out), **options})
    assert left(fusion.main, monkeypatch, "-o", tmp_path, "--set", "run.steps=2", "--curve", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(tmp_path), "overrides": ["run.steps=2"], "curve": True}
