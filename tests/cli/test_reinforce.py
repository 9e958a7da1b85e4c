"""`openmofi reinforce` as a person meets it."""

import json

import pytest
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.errors import UsageError
from openmofi.plugins.reinforcement import Knowledge
from terminal import in_process, sentence

pytestmark = pytest.mark.slow


def run(*arguments):
    return CliRunner().invoke(app, ["reinforce", *map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "160"})


def test_a_store_and_what_is_told_of_it(small_world, small_encoder, labelled, tmp_path):
    done = run(
        small_world.shards / "00000.tar",
        "--labels",
        labelled,
        "--teachers",
        f"{small_encoder}:30",
        "--augs",
        "1",
        "--captions",
        "1",
        "--size",
        "32",
        "--precision",
        "int8",
        "--kb",
        small_world.kb,
        "-o",
        tmp_path / "out",
    )
    assert done.exit_code == 0
    assert "80 pairs in" in done.output
    assert "image_broken" in done.output
    assert "int8 (stored)" in done.output
    knowledge = Knowledge.open(tmp_path / "out")
    assert (knowledge.augmentations, knowledge.captions, knowledge.size) == (1, 1, 32)


def test_json(small_world, small_encoder, labelled, tmp_path):
    done = run(
        small_world.shards / "00001.tar",
        "--labels",
        labelled,
        "--teachers",
        f"{small_encoder}:30",
        "--augs",
        "1",
        "--size",
        "32",
        "--json",
        "-o",
        tmp_path / "out",
    )
    counts = json.loads(done.stdout)
    assert counts["rows"] == 80
    assert set(counts) == {
        "rows",
        "status",
        "refused",
        "own_texts",
        "fidelity",
        "fidelity_samples",
        "bytes",
        "bytes_per_sample",
        "device",
    }


def test_scales_are_found_and_can_be_pasted(small_world, small_encoder):
    done = run(small_world.shards / "00000.tar", "--teachers", small_encoder, "--tune-scale")
    assert f"--teachers {small_encoder}:" in done.output
    found = json.loads(
        run(small_world.shards / "00000.tar", "--teachers", f"{small_encoder}:3", "--tune-scale", "--json").stdout
    )
    assert found[0]["spec"] == small_encoder
    assert found[0]["pairs"] > 16


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--teachers", "sample", "--labels", "x", "-o", "y"], "tune-scale"),
        (["--teachers", "sample:20", "-o", "y"], "--labels"),
        (["--teachers", "sample:20", "--labels", "x"], "-o STORE"),
    ],
)
def test_what_is_missing_is_said(small_world, arguments, hint):
    with pytest.raises(UsageError) as error:
        run(small_world.shards, *arguments)
    assert hint in error.value.hint


def test_other_precisions_are_refused(small_world):
    given = ("--teachers", "sample:20", "--labels", "x", "-o", "y", "--precision", "fp8")
    message = sentence(in_process("reinforce", small_world.shards, *given), code=2)
    assert message == "unknown value 'fp8' for precision; use bf16, fp16 or int8."
