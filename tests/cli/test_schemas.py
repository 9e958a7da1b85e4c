"""What commands print with `--json` is what their published schemas say."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError
from typer.testing import CliRunner

from openmofi.cli.command import CHECK_VARIABLE, print_json
from openmofi.cli.main import app, commands
from openmofi.cli.schemas import schema_names, schema_of
from small_world import drawn_image


def with_json():
    for name, command in commands():
        if any("--json" in getattr(option, "opts", ()) for option in command.params):
            yield " ".join(name)


def test_every_command_that_prints_json_has_a_schema_and_no_other_has():
    """`tools/schemas.py` makes one of what a command printed."""
    assert set(schema_names()) == set(with_json())


@pytest.mark.parametrize("name", schema_names())
def test_schemas_are_schemas(name):
    Draft202012Validator.check_schema(schema_of(name))
    assert json.loads(CliRunner().invoke(app, ["schema", *name.split(" ")]).stdout) == schema_of(name)


def test_an_unknown_command_is_named():
    from terminal import in_process

    done = in_process("schema", "lable")
    assert done.returncode == 2
    assert "Did you mean label" in done.stderr or "label" in done.stderr


def test_what_differs_from_its_schema_is_refused(monkeypatch):
    monkeypatch.setenv(CHECK_VARIABLE, "1")
    monkeypatch.setattr("openmofi.cli.schemas._running_command", lambda: "kb lookup")
    with pytest.raises(ValidationError):
        print_json({"name": 7, "key": "moon", "link_probability": 1.0, "candidates": []})


@pytest.mark.slow
def test_real_outputs_fit(small_world, small_encoder, labelled, tmp_path, monkeypatch):
    """A job from the knowledge base to the index; each output is checked as it is printed."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("photos/moon.jpg").write_bytes(drawn_image("e:moon", np.random.default_rng(0)))
    Path("truth.csv").write_text(
        "\n".join(
            ["shard,key,entity", *(f"{shard},{key},{entity}" for (shard, key), entity in small_world.truth.items())]
        )
    )
    kb, encoder = ["--kb", small_world.kb], ["--encoder", small_encoder]
    monkeypatch.setenv(CHECK_VARIABLE, os.environ.get(CHECK_VARIABLE, "1"))
    for words in (
        ["kb", "build", "table", small_world.kb.parent / "source", "-o", "own"],
        ["kb", "build", "sample", small_world.kb.parent / "source", "-o", "again"],
        ["kb", "export", "own", "-o", "tables"],
        ["kb", "info", small_world.kb],
        ["kb", "verify", small_world.kb],
        ["kb", "lookup", small_world.kb, "moon"],
        ["kb", "lookup", small_world.kb, "moan"],
        ["kb", "diff", small_world.kb, "own"],
        ["kb", "sample", small_world.kb, "--types", "circle", "-o", "slice"],
        ["kb", "union", "own", "slice", "-o", "both"],
        ["kb", "publish", "own", "-o", "published"],
        ["kb", "fetch", "published", "-o", "fetched"],
        ["encoder", "info", small_encoder],
        ["eval", "--list"],
        ["eval", "sources", "gpr1200"],
        ["train", "--list"],
        ["train", "mofi_vit_b16", "--show"],
        ["label", small_world.shards, *kb, *encoder, "-o", "labels", "--cache", labelled],
        ["label", "audit", "labels", "-o", "look.html", "--sample", "5"],
        ["jobs", "status", "labels"],
        [
            "explain",
            *kb,
            *encoder,
            "--image",
            "photos/moon.jpg",
            "--text",
            "the moon",
            "--calibration",
            "labels/calibration.json",
        ],
        ["dataset", "build", "labels", *kb, "-o", "dataset", "--min-images", "1"],
        ["dataset", "audit", "labels", "--truth", "truth.csv"],
        ["index", "build", "labels", *encoder, "-o", "index"],
        ["index", "info", "index"],
        ["index", "verify", "index"],
        ["index", "add", "index", "photos"],
        ["index", "remove", "index", tmp_path / "photos"],
        ["index", "compact", "index"],
        ["index", "verdicts", "index", "-o", "verdicts.parquet"],
        ["search", "index", "--text", "moon"],
        ["search", "index", "photos/moon.jpg"],
        ["recognise", small_world.shards, "--index", "index", "-o", "shown", "--cache", labelled],
    ):
        done = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
        assert done.exit_code in (0, 1), f"{words}: {done.output}"
        assert json.loads(done.stdout), words
