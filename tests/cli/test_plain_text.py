"""No text of data or of a user is read as markup: not by rich, and not by the terminal."""

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import openmofi
from openmofi import progress
from openmofi.cli import command, label, tables
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError
from openmofi.labeling.explain import Explained, Explanation
from openmofi.plugins.audit.commands import print_audit
from openmofi.plugins.benchmarks.commands import print_comparison
from openmofi.schema import Mention, Reason
from studies.world.commands import print_world

HOSTILE = "a [/ref] [sic] [1] [bold]b[/bold] :tent: [link=http://x]c[/link] [red"
CONTROLS = "\x1b[2J\x07\x9b31m"
TURNING = "\u202e\u2066\u2069\u202a\u2028"
"""Characters that turn what stands beside them around, or end a line."""
PRINTS = """
import logging, sys
import typer
from openmofi.cli.command import print_json, run_app
from openmofi.cli.main import VisibleLines
from openmofi.cli.tables import print_table
from openmofi.errors import OpenMofiError
from openmofi.progress import ConsoleProgress

def main():
    evil = sys.argv[1]
    print(evil)
    typer.echo(evil)
    print_table(("what",), [(evil,)], title=evil)
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleLines())
    logging.basicConfig(handlers=[handler])
    logging.warning(evil)
    progress = ConsoleProgress()
    progress.begin("read", 1)
    progress.say(evil)
    progress.end()
    print_json({evil: evil}, checked=False)
    raise OpenMofiError(evil, evil)

run_app(main)
"""
ROOT = Path(openmofi.__file__).parent
SOURCES = [path for folder in (ROOT, ROOT.parents[1] / "studies") for path in sorted(folder.rglob("*.py"))]


def option(call: ast.Call, name: str) -> object:
    return next((ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg == name), "not given")


def with_markup(path: Path) -> list[str]:
    """What in a file would read text as markup."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    called = [(ast.unparse(node.func), node) for node in nodes if isinstance(node, ast.Call)]
    wrong = [
        ast.unparse(call)
        for name, call in called
        if (
            (
                name.endswith("Console")
                and any(option(call, one) is not False for one in ("markup", "emoji", "highlight"))
            )
            or (name.endswith("TextColumn") and option(call, "markup") is not False)
            or (name.endswith("Typer") and option(call, "rich_markup_mode") is not None)
            or name.endswith(("from_markup", "Panel", "Prompt.ask"))
        )
    ]
    return wrong + [
        ast.unparse(node)
        for node in nodes  # rich.print, rich.get_console
        if isinstance(node, ast.ImportFrom) and node.module == "rich"
    ]


def test_nothing_in_the_sources_prints_with_markup():
    assert len(SOURCES) > 300
    assert {str(path): wrong for path in SOURCES if (wrong := with_markup(path))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "Console()",
        "Console(stderr=True, markup=False, highlight=False)",
        "TextColumn('{task.description}')",
        "typer.Typer(no_args_is_help=True)",
        "Text.from_markup(name)",
        "from rich import print",
    ],
)
def test_the_check_above_finds_what_does(line, tmp_path):
    (tmp_path / "a.py").write_text(line)
    assert with_markup(tmp_path / "a.py")


@pytest.fixture(params=["terminal", "pipe"])
def stream(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    if request.param == "terminal":
        monkeypatch.setenv("FORCE_COLOR", "1")


def print_explanation() -> None:
    label.print_explanation(
        Explanation(
            HOSTILE,
            (Mention(2, 8, HOSTILE[2:8], "gazetteer"),),
            (
                Explained(
                    HOSTILE[2:8],
                    "gazetteer",
                    HOSTILE[9:14],
                    HOSTILE[15:18],
                    "the [sic] one :tent:",
                    1,
                    1,
                    1.0,
                    1,
                    Reason.ACCEPTED,
                ),
            ),
            0.8,
        )
    )


FIGURES = {"labels": {"pairs": 1, "precision": 1.0, "precision_interval": None, "recall": 1.0}, "text_only": None}


@pytest.mark.parametrize(
    "show",
    [
        lambda: tables.print_table((HOSTILE, HOSTILE), [(HOSTILE, HOSTILE)], title=HOSTILE),
        lambda: tables.print_facts({HOSTILE: HOSTILE}),
        lambda: tables.print_counts(HOSTILE, {HOSTILE: 1}),
        lambda: tables.print_names({HOSTILE: HOSTILE}, False),
        lambda: print_comparison(HOSTILE, [[HOSTILE] * 2] * 2),
        lambda: print_audit(
            {
                "keys_unmatched": 1,
                "examples": [HOSTILE],
                "unknown_entities": [HOSTILE],
                "overall": FIGURES,
                "groups": {HOSTILE: {HOSTILE: FIGURES}},
                "curve": [],
                "precision_at_recall": {},
                "recall_asked": 0.5,
            }
        ),
        lambda: tables.print_evaluation(
            {
                "protocol": HOSTILE,
                "version": 1,
                "interval_over": "x",
                "metrics": {HOSTILE: 1.0},
                "intervals": {},
                "features": None,
                "counts": {HOSTILE: 1},
                "excluded": {HOSTILE: HOSTILE},
                "rule": HOSTILE,
            }
        ),
        lambda: print_world(
            HOSTILE,
            {
                "pairs_by_split": {HOSTILE: 1},
                "entities_by_kind": {HOSTILE: 1},
                "pictures_by_rule": {f"{HOSTILE.replace('/', '|')}/{HOSTILE}": 1},
            },
        ),
        print_explanation,
    ],
)
def test_every_table_prints_what_it_is_given(show, stream, capsys):
    show()
    shown = capsys.readouterr().out
    for part in ("[/ref]", "[sic]", ":tent:"):
        assert part in shown


def test_a_terminal_is_not_controlled_by_data(stream, capsys):
    tables.print_table(("what",), [(f"x{CONTROLS}y\nz",)], title=CONTROLS)
    label.print_explanation(Explanation(CONTROLS, (), (), 0.8))
    shown = capsys.readouterr().out
    assert not {"\x07", "\x9b"} & set(shown)
    assert "\x1b[2J" not in shown
    assert "x\ufffd[2J\ufffd\ufffd31my" in shown


def test_a_bar_shows_its_stage_as_it_is(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(
        progress,
        "_console",
        lambda: Console(file=out, width=200, force_terminal=True, markup=False, emoji=False, highlight=False),
    )
    shown = progress.ConsoleProgress()
    shown.begin("read [/ref] [sic]", 1)
    shown.advance({})
    shown.say("[/ref] [sic] of a path")
    shown.end()
    assert "read [/ref] [sic]" in out.getvalue()
    assert "[/ref] [sic] of a path" in out.getvalue()


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})


def test_a_knowledge_base_of_hostile_names_is_built_looked_up_and_shown(tmp_path):
    source, kb = tmp_path / "[/ref] [sic] :tent:", tmp_path / "kb [/ref] [sic] :tent:"
    source.mkdir(parents=True)
    (source / "entities.jsonl").write_text(
        "".join(
            json.dumps(
                {"id": f"{number}[/ref]", "name": HOSTILE, "description": f"[sic] {HOSTILE}", "types": [HOSTILE]}
            )
            + "\n"
            for number in range(2)
        )
    )
    (source / "relations [sic].csv").write_text("x")
    checked = run("kb", "build", "table", source, "--check")
    assert (checked.exit_code, "[/ref] [sic] :tent:/relations [sic].csv is ignored" in checked.stdout) == (0, True)
    assert run("kb", "build", "table", source, "-o", kb).exit_code == 0
    looked = run("kb", "lookup", kb, HOSTILE)
    assert looked.exit_code == 0
    assert looked.stdout.count(HOSTILE) == 7  # the title, and name, type and description of two
    assert run("kb", "info", kb).exit_code == 0
    unknown = run("kb", "lookup", kb, "[/nope] [sic]")
    assert (unknown.exit_code, "'[/nope] [sic]'" in unknown.stdout) == (1, True)
    with pytest.raises(OpenMofiError, match=r"\[/ref\] \[sic\] :tent:/x is not a knowledge base"):
        raise run("kb", "info", kb / "x").exception


@pytest.mark.parametrize(
    "arguments",
    [
        ("[/ref] [sic]",),
        ("kb", "[/ref] [sic]"),
        ("kb", "lookup", "kb", "x", "--[/ref] [sic]"),
        ("kb", "lookup", "kb", "x", "--limit", "[/ref] [sic]"),
        ("kb", "build", "[/ref] [sic]", "a"),
        ("encoder", "info", "x", "[/ref] [sic]"),
        ("sample", "world", "--[/ref] [sic]"),
        ("link", "[/ref] [sic]"),
        ("eval", "[/ref] [sic]"),
    ],
)
def test_wrong_use_is_told_with_the_words_that_were_typed(arguments):
    done = run(*arguments)
    assert done.exit_code == 2 or isinstance(done.exception, OpenMofiError)
    told = done.output + str(done.exception)
    assert "[/ref] [sic]" in told or "--limit" in arguments


def test_an_error_prints_its_message_as_it_stands(capsys):
    def fails() -> None:
        raise OpenMofiError(f"{HOSTILE} {CONTROLS}cannot be read.", "[/ref] [sic]")

    with pytest.raises(SystemExit):
        command.run_app(fails)
    assert capsys.readouterr().err == (f"error: {HOSTILE} \ufffd[2J\ufffd\ufffd31mcannot be read.\n  [/ref] [sic]\n")


@pytest.mark.parametrize("debug", ["", "1"])
def test_nothing_of_data_turns_or_controls_a_terminal_whatever_prints_it(debug, monkeypatch):
    """A process, as a person starts it: print, tables, logs, progress, errors and tracebacks."""
    monkeypatch.setenv("OPENMOFI_DEBUG", debug)
    evil = f"invoice{CONTROLS}{TURNING}fdp.exe \u05d0\u200f \u0639"
    done = subprocess.run(
        [sys.executable, "-c", PRINTS, evil], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 1
    assert not set(CONTROLS[:1] + CONTROLS[4:6] + TURNING) & set(done.stdout + done.stderr), (done.stdout, done.stderr)
    assert done.stdout.count("fdp.exe \u05d0\u200f \u0639") == 6  # marks of Hebrew and Arabic stay
    assert ("Traceback" in done.stderr) == bool(debug)
    assert json.loads(done.stdout[done.stdout.index("{") :]) == {evil: evil}
