import json

from kb_tables import write_source
from typer.testing import CliRunner

from openmofi.cli.kb import app


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
    assert "does not know 'zebra'" in run("lookup", tmp_path / "kb", "zebra").stdout
