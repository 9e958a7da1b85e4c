"""Defaults, YAML and KEY=VALUE → settings."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from openmofi.config import Fraction, PositiveInt, Settings, settings_from
from openmofi.config.recipes import read_recipe, recipe_names, recipe_yaml
from openmofi.errors import UsageError


@dataclass(frozen=True)
class Range(Settings):
    low: Fraction = 0.0
    high: Fraction = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise UsageError(f"low is {self.low:g}, above high = {self.high:g}.", "Swap them.")


@dataclass(frozen=True)
class Example(Settings):
    name: str = "example"
    k: tuple[PositiveInt, ...] = (10,)
    splits: tuple[str, ...] = ()
    share: Fraction | None = None
    range: Range = field(default_factory=Range)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("k=5,10", Example(k=(5, 10))),
        ("k=[5, 10]", Example(k=(5, 10))),
        ("k=5", Example(k=(5,))),
        ("k=", Example(k=())),
        ("splits=2014, b", Example(splits=("2014", "b"))),
        ("splits=['a, b']", Example(splits=("a, b",))),
        ("name=2014", Example(name="2014")),
        ("name={} here", Example(name="{} here")),
        ("name='#1'", Example(name="#1")),
        ("name=", Example(name="")),
        ("name=no: way", Example(name="no: way")),
        ("name=a=b", Example(name="a=b")),
        ("share=0.5", Example(share=0.5)),
        ("share=null", Example()),
        ("range.low=5e-1", Example(range=Range(0.5))),
        ("range={high: 1}", Example(range=Range(high=1.0))),
    ],
)
def test_values_are_written_as_their_type_suggests(override, expected):
    assert settings_from(Example(), [override]) == expected


def test_later_layers_win_and_rules_hold_for_the_outcome_alone():
    settings = settings_from(Example(), ["range.low=0.7", "range.high=0.8", "k=2"], {"range": {"low": 0.6}, "k": [1]})
    assert settings == Example(k=(2,), range=Range(0.7, 0.8))
    with pytest.raises(UsageError, match=r"^range: low is 0.7, above high = 0.5. Swap them."):
        settings_from(Example(), ["range.low=0.7"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nam=x", "--set nam=x: unknown setting nam; did you mean name? Settings: name, k, splits, share, range."),
        ("high=1", "--set high=1: unknown setting high; did you mean range.high?"),
        ("range.hihg=1", "--set range.hihg=1: unknown setting range.hihg; did you mean range.high? Settings of range:"),
        ("k=1,0", "--set k=1,0: k[1] is 0; it must be at least 1."),
        ("k.first=1", "--set k.first=1: k is a mapping; it must be a list"),
        ("range=1", "--set range=1: range is 1; it has settings below it. Write one as --set range.NAME=VALUE."),
        ("range.low=2", "--set range.low=2: range.low is 2; it must lie between 0 and 1."),
        ("share=half", "--set share=half: share is 'half'; it must be a number."),
        ("range.low", "--set range.low is not KEY=VALUE."),
    ],
)
def test_a_wrong_override_is_told(override, message):
    with pytest.raises(UsageError) as caught:
        settings_from(Example(), [override])
    assert str(caught.value).startswith(message)


def test_recipes_are_named_after_their_file_and_found_by_name(tmp_path):
    (tmp_path / "small.yaml").write_text("# A small one.\nk: [3]\n")
    (tmp_path / "named.yaml").write_text("# Has a name.\nname: other\n")
    assert recipe_names(tmp_path) == {"named": "Has a name.", "small": "A small one."}
    small = read_recipe(Example(), "small", ["share=1"], tmp_path)
    assert small == Example("small", (3,), share=1.0)
    assert read_recipe(Example(), tmp_path / "named.yaml", (), tmp_path).name == "other"
    (tmp_path / "again.yaml").write_text(recipe_yaml(small))
    assert read_recipe(Example(), tmp_path / "again.yaml", (), tmp_path) == small


def test_config_is_not_loaded_before_it_is_needed():
    code = (
        "import sys, openmofi, openmofi.cli.main; "
        "print([name for name in ('msgspec', 'yaml', 'openmofi.config') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    assert done.stdout == "[]\n"
