"""YAML that would take all memory or all of the stack is refused in one sentence."""

import pytest

from openmofi.config import yaml_text
from openmofi.config.yaml_text import parse_yaml
from openmofi.errors import UsageError
from terminal import in_process, sentence


def bomb(width: int, depth: int, item: str = "[{}]") -> str:
    lines = [f"a0: &a0 {item.format(', '.join(['1'] * width))}"] if item == "[{}]" else ["a0: &a0 {k: 1, l: 2}"]
    lines += [f"a{level}: &a{level} {item.format(', '.join([f'*a{level - 1}'] * width))}" for level in range(1, depth)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 10_000 + "]" * 10_000, "nested too deeply"),
        ("[" * 10_000, "nested too deeply"),
        ("\n".join(" " * level + "a:" for level in range(2_000)), "nested too deeply"),
        ("{a: " * 5_000 + "}" * 5_000, "nested too deeply"),
        ("a: &a [*a]", "*a stands for a value that it is in"),
        ("a: &a {b: {c: *a}}", "*a stands for a value"),
        (bomb(9, 10), "more than 100,000 values"),
        (bomb(9, 7, "{{<<: [{}]}}"), "more than 100,000 values"),
    ],
)
def test_what_would_take_all_memory_or_stack_is_refused(text, says):
    with pytest.raises(UsageError, match=rf"^a\.yaml.*{says.replace('*', '[*]')}"):
        parse_yaml(text, "a.yaml")


def test_values_are_counted_where_no_alias_stands_for_many(monkeypatch):
    monkeypatch.setattr(yaml_text, "_MOST_VALUES", 1000)
    assert len(parse_yaml(f"[{'1,' * 999}]", "a.yaml")) == 999
    with pytest.raises(UsageError, match="more than 1,000 values"):
        parse_yaml(f"[{'1,' * 1000}]", "a.yaml")


def test_anchors_are_as_good_as_before():
    assert parse_yaml("a: &x [1, 2]\nb: *x\nc: &y {d: 3}\ne: {<<: *y, f: *x}", "a") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": 3},
        "e": {"d": 3, "f": [1, 2]},
    }
    assert parse_yaml(bomb(9, 4), "a")["a3"][8][8][8] == [1] * 9


def test_a_recipe_and_a_setting_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "deep.yaml").write_text("[" * 10_000)
    assert "nested too deeply" in sentence(in_process("train", tmp_path / "deep.yaml", "-o", tmp_path / "run"), 2)
    assert "nested too deeply" in sentence(
        in_process("train", "mofi_vit_b16", "--set", f"run.steps={'[' * 5000}", "-o", tmp_path / "run"), 2
    )
