"""`openmofi eval` as a person meets it."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from colours import Eye, write_classes
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.errors import OpenMofiError
from openmofi.plugins.benchmarks import mteb
from terminal import in_process, sentence


@pytest.fixture(autouse=True)
def eye(monkeypatch):
    monkeypatch.setattr("openmofi.encoders.open_encoder", lambda spec, **_: Eye(texts=spec != "blind"))


def run(*arguments: str | Path):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "160"})


def test_a_protocol_writes_its_result_and_the_page_of_failures(tmp_path):
    data = write_classes(tmp_path / "data", 6)
    (data / "red/bad.png").write_bytes(b"x")
    place = ("--encoder", "eye", "--data", data, "--cache", tmp_path / "cache")
    done = run("retrieval", *place, "-o", tmp_path / "out", "--failures", "2")
    assert done.exit_code == 0, done.output
    for text in (
        "retrieval/map_excl_query",
        "features: joint, 3 dimensions, normalised l2",
        "red/bad.png (image_broken)",
        "Images that cannot be read are neither queries nor in the index.",
    ):
        assert text in done.stdout
    written = sorted(path.suffix for path in (tmp_path / "out").iterdir())
    assert written == [".html", ".json", ".parquet"]
    done = run("zeroshot", *place, "--set", "templates=photo", "-o", tmp_path / "out", "--json")
    found = json.loads(done.stdout)
    assert found["settings"] == {"templates": "photo"}
    assert Path(found["written"]).is_file()
    files = sorted((tmp_path / "out").glob("*.json"))
    compared = run("compare", *files, "-o", tmp_path / "compared")
    assert compared.exit_code == 0
    assert {path.name for path in (tmp_path / "compared").iterdir()} == {
        "compare.md",
        "compare.csv",
        "retrieval.svg",
        "zeroshot.svg",
    }
    assert run("compare", *files, "--format", "markdown").stdout == (tmp_path / "compared/compare.md").read_text()
    assert [one["protocol"] for one in json.loads(run("compare", *files, "--json").stdout)] == ["retrieval", "zeroshot"]


def test_seeds_are_joined_by_their_name(tmp_path):
    data = write_classes(tmp_path / "data", 4)
    run("retrieval", "--encoder", "eye", "--data", data, "--cache", tmp_path / "cache", "-o", tmp_path / "out")
    (result,) = (tmp_path / "out").glob("*.json")
    done = run("compare", result, f"mine={result}", f"mine={result}", "--format", "csv")
    rows = [line.split(",") for line in done.stdout.splitlines()[1:]]
    assert {row[1] for row in rows} == {"eye", "mine"}
    assert {row[9] for row in rows if row[1] == "mine" and row[9]} == {"0.0"}


def test_tasks_of_mteb(monkeypatch, tmp_path):
    found = SimpleNamespace(
        task_name="Colours",
        dataset_revision="7",
        mteb_version="2",
        evaluation_time=1.0,
        scores={"test": [{"hf_subset": "default", "languages": ["eng"], "main_score": 0.75, "accuracy": 0.75}]},
    )
    monkeypatch.setattr(mteb, "run_tasks", lambda encoder, tasks, **_: mteb.results_of(found, encoder))
    done = run("mteb", "Colours", "--encoder", "eye")
    assert done.stdout == "0.7500  mteb-Colours/main_score (test, default)\n"
    (result,) = json.loads(run("mteb", "Colours", "--encoder", "eye", "--json").stdout)
    assert result["metrics"] == {"mteb-Colours/main_score": 0.75, "mteb-Colours/accuracy": 0.75}


def test_the_list_of_protocols():
    done = run("--list")
    assert done.exit_code == 0
    assert set(json.loads(run("--list", "--json").stdout)) == {line.split()[0] for line in done.stdout.splitlines()}
    assert run("gpr1200", "--help").exit_code == 0


def test_errors_of_use(tmp_path):
    data = write_classes(tmp_path / "data", 2)
    for arguments, message in (
        (("knm", "--data", data), "Unknown protocol 'knm'. Did you mean 'knn'"),
        (("retrieval", "--data", data), "needs an encoder"),
        (("zeroshot", "--encoder", "blind", "--data", data), "embeds no texts"),
        (("retrieval", "--encoder", "eye", "--data", data, "--set", "x=1"), "unknown setting x."),
        (("compare", tmp_path / "x.json", "--format", "pdf"), "Unknown format 'pdf'"),
        (("gpr12000",), "Unknown protocol 'gpr12000'. Did you mean 'gpr1200'"),
    ):
        with pytest.raises(OpenMofiError, match=message) as raised:
            run(*arguments)
        assert raised.value.exit_code == 2


@pytest.mark.parametrize("option", ["-o", "--cache"])
def test_a_place_that_is_no_folder_is_told_before_the_work(tmp_path, option):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OpenMofiError, match=r"file cannot be made a folder: File exists") as raised:
        run("retrieval", "--encoder", "eye", "--data", tmp_path / "no such data", option, tmp_path / "file")
    assert raised.value.exit_code == 1


def test_errors_are_sentences(tmp_path):
    done = in_process("eval", "knn", "--data", tmp_path)
    assert sentence(done, 2) == "The protocol knn needs an encoder."
    assert "x.json cannot be read: No such file or directory" in sentence(
        in_process("eval", "compare", tmp_path / "x.json")
    )
    assert in_process("eval", "knn").returncode == 2


@pytest.mark.slow
def test_labels(labelled, small_world, tmp_path):
    import pyarrow as pa

    from openmofi.plugins.audit.audit import audit
    from openmofi.schema import TRUTH
    from openmofi.storage import write_table

    rows = [
        {
            "shard": shard,
            "key": key,
            "entity": entity,
            "named": True,
            "ambiguous": False,
            "domain": "shapes",
            "split": "train",
        }
        for (shard, key), entity in small_world.truth.items()
    ]
    truth = tmp_path / "truth.parquet"
    write_table(truth, pa.Table.from_pylist(rows, schema=TRUTH))
    done = run("labels", "--data", labelled, "--set", f"truth={truth}", "--json")
    assert done.exit_code == 0, done.output
    found, expected = json.loads(done.stdout), audit(labelled, truth)
    assert found["metrics"]["labels/precision"] == expected.overall.labels.precision
    assert found["metrics"]["labels/recall"] == expected.overall.labels.recall
    assert found["metrics"]["labels/shapes/precision"] == expected.overall.labels.precision
    assert found["encoder"]["spec"].startswith("run:")
    assert found["features"] == {}
    with pytest.raises(OpenMofiError, match="Truth table not found"):
        run("labels", "--data", labelled)
