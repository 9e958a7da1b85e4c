import json
import re
from pathlib import Path

import pytest
from kb_tables import write_source
from typer.testing import CliRunner

from openmofi.cli.kb import app
from openmofi.errors import UsageError
from openmofi.knowledge.builders.source import COLUMNS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path_factory.mktemp("home")))


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_build_info_and_lookup_speak_json(tmp_path):
    built = run("build", "table", write_source(tmp_path / "s"), "-o", tmp_path / "kb", "--json")
    assert built.exit_code == 0
    assert json.loads(built.stdout)["entities"] == 7
    info = json.loads(run("info", tmp_path / "kb", "--json").stdout)
    assert info["fingerprint"] == json.loads(built.stdout)["fingerprint"]
    found = json.loads(run("lookup", tmp_path / "kb", "Cranes", "--json").stdout)
    assert [row["id"] for row in found["candidates"]] == ["bird", "machine"]


def test_tables_for_people(tmp_path):
    assert "entities" in run("build", "sample", write_source(tmp_path / "s"), "-o", tmp_path / "kb").stdout
    assert "ambiguous names" in run("info", tmp_path / "kb").stdout
    assert "machine" in run("lookup", tmp_path / "kb", "crane").stdout


def test_an_unknown_name_exits_with_1_and_names_those_spelt_alike(tmp_path):
    run("build", "table", write_source(tmp_path / "s"), "-o", tmp_path / "kb")
    unknown = run("lookup", tmp_path / "kb", "zebra")
    assert unknown.exit_code == 1
    assert unknown.stdout == "The knowledge base does not know 'zebra' (key 'zebra').\n"
    near = run("lookup", tmp_path / "kb", "Crame")
    assert near.exit_code == 1
    assert near.stdout.endswith(" Names spelt alike: crane.\n")
    assert run("lookup", tmp_path / "kb", "!?").exit_code == 1


def test_what_the_options_of_build_do_not_fit_is_wrong_use(tmp_path, monkeypatch):
    write_source(tmp_path / "s")
    monkeypatch.chdir(tmp_path)
    assert isinstance(run("build", "table", "s").exception, UsageError)
    for arguments in (("wordnet", "s", "--check", "-o", "kb"), ("wordnet", "s"), ("wikidata", "s")):
        assert run("build", *arguments).exit_code == 2
    assert not Path("kb").exists()


def test_columns_and_encoding_of_a_thesaurus_are_options(tmp_path):
    place = tmp_path / "thesaurus.csv"
    place.write_bytes("Notation;Vorzugsbenennung\nP1;Büste\n".encode("mac_roman"))
    named = ("--id-column", "Notation", "--name-column", "Vorzugsbenennung", "--encoding", "mac_roman")
    checked = run("build", "table", place, "--check", *named)
    assert (checked.exit_code, "no problems" in checked.stdout) == (0, True)
    assert run("build", "table", place, "--check").stdout.endswith("\n1 problem\n")
    assert run("build", "table", place, "-o", tmp_path / "kb", *named).exit_code == 0
    assert json.loads(run("lookup", tmp_path / "kb", "Büste", "--json").stdout)["candidates"][0]["id"] == "P1"
    assert "--id-column" not in run("build", "wordnet", "--help").stdout


def test_check_builds_nothing_and_says_what_it_understood(tmp_path):
    (tmp_path / "entities.csv").write_text(
        "id,name,kind,aliases\n1,Grey crane,bird,crane|Cranes\n2,Tower crane,machine,crane\n3,!!,,\n"
    )
    (tmp_path / "names.tsv").write_text("name\tentity\tcount\ncrane\t1\t2\nCranes\t1\t1\n??\t2\t1\n")
    (tmp_path / "surfaces.jsonl").write_text('{"name": "elbe", "link_probability": 0.5}\n')
    (tmp_path / "relation.csv").write_text("head,tail\n1,2\n")
    before = sorted(tmp_path.iterdir())
    checked = run("build", "table", tmp_path, "--check", "--json")
    assert checked.exit_code == 0
    understood = json.loads(checked.stdout)
    assert sorted(tmp_path.iterdir()) == before
    assert understood["tables"]["entities"] == {
        "file": "entities.csv",
        "rows": 3,
        "columns": ["id", "name", "aliases"],
        "defaults": {"description": "", "types": [], "popularity": 0.0},
    }
    assert understood["ignored"] == [
        f"{tmp_path}/relation.csv is ignored: tables are entities, names, relations, surfaces, languages. "
        "Did you mean 'relations'?",
        "entities.csv: the column 'kind' is ignored.",
    ]
    # Own names: grey crane, tower crane; aliases: crane of the machine; the bird's crane is in the table of names.
    assert understood["counts"] == {
        "entities": 3,
        "names": 3,
        "own_names_and_aliases_added": 3,
        "rows_that_repeat_a_name": 1,
        "ambiguous_names": 1,
        "names_without_letter_or_digit": 1,
        "entities_without_a_name": 1,
        "entities_that_share_their_name": 0,
        "entities_without_a_description": 3,
        "relations": 0,
        "entities_without_a_relation": 3,
        "surfaces_of_no_name": 1,
    }
    people = run("build", "table", tmp_path, "--check")
    assert people.exit_code == 0
    assert all(part in people.stdout for part in ("entities.csv", "popularity = 0.0", "ambiguous names", "no problems"))


def test_check_names_all_problems_and_exits_with_1(tmp_path):
    (tmp_path / "entities.csv").write_text("id,name\n1,a\n1,b\n")
    (tmp_path / "names.csv").write_text("name,entity\nx,9\n")
    checked = run("build", "table", tmp_path, "--check", "--json")
    assert checked.exit_code == 1
    assert [problem.partition(":")[0] for problem in json.loads(checked.stdout)["problems"]] == [
        "entities.csv, line 3",
        "names.csv, line 2",
    ]
    assert "2 problems" in run("build", "table", tmp_path, "--check").stdout


def test_the_example_of_the_help_and_of_the_documentation_is_a_source(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "knowledge-base.md").read_text()
    example = re.search(r"```csv\n(.*?)```", page, re.S)[1]
    shown = "\n".join(line.strip() for line in run("build", "table", "--help").stdout.splitlines())
    assert example in shown
    for table in COLUMNS.values():
        for column in table.schema.names:
            assert re.search(rf"\b{column}\b", shown), column
            assert f"`{column}`" in page, column
    (tmp_path / "entities.csv").write_text(example)
    assert run("build", "table", tmp_path, "-o", tmp_path / "kb").exit_code == 0
    meanings = json.loads(run("lookup", tmp_path / "kb", "Cranes", "--json").stdout)["candidates"]
    assert [(row["id"], row["prior"], row["types"]) for row in meanings] == [
        ("Q1", 0.5, ["bird"]),
        ("Q2", 0.5, ["machine"]),
    ]
    assert json.loads(run("lookup", tmp_path / "kb", "river elbe", "--json").stdout)["candidates"][0]["id"] == "Q5"


def test_verify_reads_all_and_names_every_damaged_file(tmp_path):
    run("build", "table", write_source(tmp_path / "s"), "-o", tmp_path / "kb")
    assert json.loads(run("verify", tmp_path / "kb", "--json").stdout)["whole"]
    for name in ("vectors.npy", "names.marisa"):
        content = bytearray((tmp_path / "kb" / name).read_bytes())
        content[-1] ^= 1
        (tmp_path / "kb" / name).write_bytes(content)
    done = run("verify", tmp_path / "kb", "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert not report["whole"]
    assert sorted(name for name, problem in report["files"].items() if problem != "whole") == [
        "names.marisa",
        "vectors.npy",
    ]
    people = run("verify", tmp_path / "kb")
    assert people.exit_code == 1
    assert "NOT vectors.npy: is not what was built" in people.stdout
    assert "ok  ids.marisa" in people.stdout
