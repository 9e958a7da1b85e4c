"""Commands made of functions: what the command line gives, what a file gives, and what nobody gave."""

import re
import sys
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from openmofi.cli.command import command, group
from openmofi.cli.options import MANY, Call, Json, made_of
from openmofi.config import PositiveInt, Settings, changed, with_settings
from openmofi.errors import UsageError
from terminal import in_process, sentence


@dataclass(frozen=True)
class Parts(Settings):
    """Parts.

    Attributes:
        languages: of `names`, as `en`. In Python a tuple.
        bits: that may differ.
        columns: of tables.
    """

    languages: tuple[str, ...] = ("en",)
    bits: PositiveInt | None = 3
    columns: str | tuple[str, ...] = ""


@dataclass(frozen=True)
class Whole(Settings):
    """The whole.

    Attributes:
        parts: What it is made of.
        kind: one of two.
        quick: be quick.
        seed: of the draw.
    """

    parts: Parts = field(default_factory=Parts)
    kind: Literal["a", "b"] = "a"
    quick: bool = False
    seed: int = 0


CALLS: list[dict] = []


@with_settings(Whole, shared={"names": "some names."})
def work(source: str, *, names: tuple[str, ...] = (), settings: Whole | None = None, **changes: object) -> Whole:
    """Work.

    Args:
        source: what is worked on.
    """
    CALLS.append({"source": source, "names": names, **changes})
    return changed(settings or Whole(), changes)


app = group("work", "Works.")


@command(app)
@made_of(work, names=MANY, groups=True, first=("kind",))
def do(
    call: Call, source: str, tries: Annotated[int, typer.Option(help="How often.")] = 1, as_json: Json = False
) -> None:
    """Do the work."""
    print(source, call(), tries, as_json)


@command(app)
def rest() -> None:
    """Rest, which is a sentence much longer than what fits beside the name of a command in a narrow terminal."""


def given(*arguments):
    CALLS.clear()
    done = CliRunner().invoke(app, ["do", "x", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return {name: value for name, value in CALLS[0].items() if name != "source"} | {"names": CALLS[0]["names"]}


def test_only_what_was_given_is_passed_on():
    assert given() == {"names": ()}
    assert given("--seed", "0", "--quick", "--kind", "b") == {"names": (), "seed": 0, "quick": True, "kind": "b"}


def test_lists_and_off():
    assert given("--languages", "en, de", "--bits", "off", "--columns", "a", "--columns", "b", "--names", "c") == {
        "names": ["c"],
        "languages": ("en", "de"),
        "bits": None,
        "columns": ["a", "b"],
    }
    assert given("--bits", "4")["bits"] == 4
    with pytest.raises(UsageError, match="--bits is 'many'; it must be a number or 'off'"):
        given("--bits", "many")


def test_a_file_of_settings_goes_before_the_command_line(tmp_path):
    (tmp_path / "settings.yaml").write_text("seed: 3\nparts: {bits: 2}\nkind: b\n")
    (tmp_path / "list.yaml").write_text("- 1\n")
    config = ["--config", str(tmp_path / "settings.yaml")]
    done = CliRunner().invoke(app, ["do", "x", *config, "--seed", "4"], catch_exceptions=False)
    assert str(Whole(Parts(bits=2), "b", seed=4)) in done.output
    for name, says in {"list.yaml": "is not a mapping", "none.yaml": "cannot be read"}.items():
        with pytest.raises(UsageError, match=says):
            given("--config", str(tmp_path / name))


def test_help_has_groups_and_cuts_nothing():
    text = CliRunner().invoke(app, ["do", "--help"], terminal_width=200).output
    titles = [line.rstrip(":") for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Arguments", "Options", "What it is made of", "Computing"]
    assert text.index("--kind") < text.index("--quick") < text.index("--tries") < text.index("--languages")
    assert "Of --names, as en.  [default: en]" in text
    listed = " ".join(CliRunner().invoke(app, ["--help"], terminal_width=60).output.split())
    assert "beside the name of a command in a narrow terminal." in listed


class TestPlugIns:
    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch):
        points = [
            EntryPoint("work", "test_options_plug_in:app", "openmofi.commands"),
            EntryPoint("broken", "no_such_module:app", "openmofi.commands"),
            EntryPoint("label", "test_options_plug_in:app", "openmofi.commands"),
            EntryPoint("kb.build.work", "test_options_plug_in:do", "openmofi.commands"),
        ]
        monkeypatch.setattr("openmofi.extensions._all", lambda: {"commands": {point.name: point for point in points}})
        monkeypatch.setitem(sys.modules, "test_options_plug_in", SimpleNamespace(app=app, do=do))

    def test_they_are_listed_and_run(self):
        listed = in_process("--help").stdout
        assert "  work         Works." in listed
        assert "The extension 'broken' of the package no_such_module cannot be loaded" in " ".join(listed.split())
        assert in_process("work", "do", "x").stdout.startswith("x Whole(")

    def test_a_group_gets_commands_too(self):
        assert re.search(r"(?m)^  work +Do the work\.$", in_process("kb", "build", "--help").stdout)
        assert "Do the work" not in in_process("kb", "--help").stdout
        assert in_process("kb", "build", "work", "x").stdout.startswith("x Whole(")

    def test_none_stands_in_place_of_a_verb(self):
        assert in_process("--help").stdout.count("\n  label  ") == 1
        assert "Label image–text pairs: one label Parquet a shard" in in_process("label", "--help").stdout

    def test_a_broken_one_is_a_sentence(self):
        assert "cannot be loaded" in sentence(in_process("broken"))
