"""`openmofi link` as a person meets it, and its outcome in `openmofi eval`."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from fusion_world import make_examples, tiny
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.config.recipes import recipe_dict, recipe_names
from openmofi.errors import OpenMofiError
from openmofi.plugins.fusion.examples import NIL, read_examples, write_examples
from openmofi.plugins.fusion.fusion_settings import LINK_RECIPES, load_link_recipe
from terminal import in_process, sentence

NOUNS = """  1 This line stands for the licence.
02015503 05 n 01 crane 0 000 | large long-necked wading bird; "two cranes flew by"
03131358 06 n 01 crane 0 000 | lifts and moves heavy objects; "the crane stood on the roof"
09318361 17 n 01 grus 0 000 | a small constellation; "grus is seen in the south"
"""
VERBS = """01234567 38 v 01 crane 0 000 01 + 02 00 | stretch the neck; "he craned to see"
01234568 38 v 01 crane 0 000 01 + 02 00 | lift with a crane
"""
SENSES = """crane%1:05:00:: 02015503 1 4
crane%1:06:00:: 03131358 2 1
crane%2:38:00:: 01234567 1 2
crane%2:38:01:: 01234568 2 0
grus%1:17:00:: 09318361 1 0
"""
COUNTS = {"Paris": {"Paris": 9, "Paris,_Texas": 1}}


def run(*arguments: str | Path):
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "160"})


@pytest.fixture
def corpora(tmp_path):
    """WordNet's dict folder, a file of ZELDA's and one of AIDA's, candidate lists, descriptions; all very small."""
    folder = tmp_path / "dict"
    folder.mkdir()
    for name, content in (
        ("data.noun", NOUNS),
        ("data.verb", VERBS),
        ("data.adj", ""),
        ("data.adv", ""),
        ("index.sense", SENSES),
    ):
        (folder / name).write_text(content)
    (tmp_path / "test_tweeki.jsonl").write_text(
        json.dumps(
            {"text": "Paris won.", "index": [[0, 5]], "wikipedia_titles": ["Paris, Texas"], "wikipedia_ids": [1]}
        )
    )
    (tmp_path / "aida.conll").write_text("-DOCSTART-\nParis\tB\tParis\tParis\nwon\nRome\tB\tRome\t--NME--\n")
    (tmp_path / "counts.json").write_text(json.dumps(COUNTS))
    (tmp_path / "told.jsonl").write_text(json.dumps({"wikipedia_title": "Paris", "description": "a capital"}))
    return tmp_path


def test_examples_of_wordnet(corpora):
    done = run("link", "examples", "wordnet", corpora / "dict", "-o", corpora / "e.parquet", "--json")
    assert done.exit_code == 0, done.output
    found = read_examples(corpora / "e.parquet")
    assert json.loads(done.stdout)["examples"] == json.loads(done.stdout)["reachable"] == len(found) == 3
    assert [(one.mention, one.gold, len(one.candidates)) for one in found] == [
        ("cranes", "wn:02015503-n", 2),
        ("crane", "wn:03131358-n", 2),
        ("craned", "wn:01234567-v", 2),
    ]
    assert found[0].candidates[0].description == "large long-necked wading bird"
    done = run("link", "examples", "wordnet", corpora / "dict", "-o", corpora / "e.parquet", "--parts", "n")
    assert f"2 examples in {corpora / 'e.parquet'}: " in done.stdout


def test_examples_of_zelda_and_of_conll(corpora):
    lists = ("--candidates", corpora / "counts.json", "--descriptions", corpora / "told.jsonl")
    run("link", "examples", "zelda", corpora / "test_tweeki.jsonl", *lists, "-o", corpora / "z.parquet")
    (one,) = read_examples(corpora / "z.parquet")
    assert (one.split, one.gold, one.shadowed, one.candidates[0].description) == (
        "test_tweeki",
        "Paris, Texas",
        True,
        "a capital",
    )
    done = run(
        "link",
        "examples",
        "conll",
        corpora / "aida.conll",
        *lists,
        "--split",
        "dev",
        "-o",
        corpora / "c.parquet",
        "--json",
    )
    assert json.loads(done.stdout) == {"examples": 2, "splits": {"dev": 2}, "reachable": 2}
    assert [(one.mention, one.gold) for one in read_examples(corpora / "c.parquet")] == [
        ("Paris", "Paris"),
        ("Rome", NIL),
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("examples", "wikipedia", "x", "-o", "e"), "Unknown source 'wikipedia'"),
        (("examples", "zelda", "x.jsonl", "-o", "e"), "zelda needs candidate lists"),
        (("examples", "conll", "x.conll", "-o", "e"), "conll needs candidate lists"),
        (("examples", "wordnet", "a", "b", "-o", "e"), "WordNet is one folder"),
        (("train",), "No recipe is given"),
        (("train", "fusion_wordne"), "Did you mean 'fusion_wordnet'?"),
        (("train", "fusion_wordnet"), "No folder for the run"),
        (("train", "fusion_wordnet", "-o", "r"), "data.examples is empty"),
        (("train", "fusion_wordnet", "-o", "r", "--set", "model.heed=select"), "model.heed"),
    ],
)
def test_wrong_use_is_one_sentence_and_exits_with_2(tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OpenMofiError, match=told) as raised:
        run("link", *arguments)
    assert raised.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_files_that_are_not_there_are_named(tmp_path):
    for arguments, told in (
        (("wordnet", tmp_path / "dict"), "cannot be read"),
        (("zelda", tmp_path / "x.jsonl", "--candidates", tmp_path / "counts.json"), "counts.json cannot be read"),
        (("zelda", tmp_path / "x.jsonl", "--candidates", tmp_path / "counts.pickle"), "counts.pickle cannot be read"),
    ):
        with pytest.raises(OpenMofiError, match=told):
            run("link", "examples", *arguments, "-o", tmp_path / "e.parquet")


def test_recipes_are_listed_and_shown():
    names = json.loads(run("link", "train", "--list", "--json").stdout)
    assert names == recipe_names(LINK_RECIPES)
    assert [line.split()[0] for line in run("link", "train", "--list").stdout.splitlines()] == list(names)
    expected = recipe_dict(load_link_recipe("fusion_wordnet", ["data.examples='odd: #path'"]))
    arguments = ("link", "train", "fusion_wordnet", "--show", "--examples", "odd: #path")
    assert yaml.safe_load(run(*arguments).stdout) == expected
    assert json.loads(run(*arguments, "--json").stdout) == expected


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A recipe of one's own, a table of examples, and the run; what training printed."""
    folder = tmp_path_factory.mktemp("link")
    write_examples(
        folder / "e.parquet",
        make_examples(60) + make_examples(20, 1, split="validation") + make_examples(30, 2, split="test"),
    )
    recipe = {
        "data": {"batch_size": 8},
        "model": asdict(tiny(folder / "tokenizer")),
        "stopping": {"limit": 20},
        "optimizer": {"lr": 0.005, "warmup": 1},
        "run": {"steps": 6, "log_every": 3, "checkpoint_every": 6, "best": "validation_accuracy"},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(recipe))
    done = run("link", "train", folder / "mine.yaml", "--examples", folder / "e.parquet", "-o", folder / "run")
    assert done.exit_code == 0, done.output
    return folder, done


def test_a_linker_is_trained_from_a_recipe_and_a_table(trained):
    folder, done = trained
    assert done.stdout.startswith("6 steps, 0.")
    assert "right on validation" in done.stdout
    assert f"linker: fusion:{folder / 'run/linker'}" in done.stdout
    assert "step 6/6: loss" in done.stderr
    assert {path.name for path in (folder / "run/linker").iterdir()} == {
        "fusion.json",
        "model.safetensors",
        "tokenizer.json",
    }
    again = run(
        "link", "train", folder / "mine.yaml", "--examples", folder / "e.parquet", "-o", folder / "run", "--json"
    )
    found = json.loads(again.stdout)
    assert (found["run"], found["steps"]) == (str(folder / "run"), 6)
    with pytest.raises(OpenMofiError, match=r"run\.steps"):
        run(
            "link",
            "train",
            folder / "mine.yaml",
            "--examples",
            folder / "e.parquet",
            "-o",
            folder / "run",
            "--set",
            "run.steps=9",
        )


def test_it_is_judged_beside_the_prior(trained):
    folder, _ = trained
    spec = f"fusion:{folder / 'run/linker'}"
    for linker in (spec, "prior"):
        done = run("eval", "disambiguation", "--linker", linker, "--data", folder / "e.parquet", "-o", folder / "out")
        assert done.exit_code == 0, done.output
        for text in ("disambiguation/accuracy_inkb", "95 %, over mentions", "mentions 30", "written: "):
            assert text in done.stdout
    files = sorted((folder / "out").glob("*.json"))
    assert len(files) == len(list((folder / "out").glob("*.parquet"))) == 2
    wrong = json.loads(files[0].read_text())["facts"]["wrong"]
    assert wrong
    assert {"text", "mention", "start", "gold", "answer"} == set(wrong[0])
    assert spec in run("eval", "compare", *files, "--format", "markdown").stdout


def test_errors_are_sentences(tmp_path):
    assert sentence(in_process("link", "train"), 2) == "No recipe is given."
    done = in_process("eval", "disambiguation", "--data", tmp_path)
    assert sentence(done, 2) == "The protocol disambiguation needs a linker."
    done = in_process("eval", "disambiguation", "--encoder", "sample", "--data", tmp_path)
    assert sentence(done, 2) == "The protocol disambiguation does not judge an encoder."
    assert "not a fusion decoder" in sentence(
        in_process("eval", "disambiguation", "--linker", f"fusion:{tmp_path}", "--data", tmp_path)
    )
