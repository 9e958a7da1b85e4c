import json

import pytest
from typer.testing import CliRunner

from openmofi.cli.eval import app
from openmofi.errors import UsageError


def run(*arguments):
    return CliRunner().invoke(app, ["sources", *arguments])


def test_the_list_and_one():
    listed = run()
    assert listed.exit_code == 0
    assert "gpr1200      12,000 images" in listed.output
    assert set(json.loads(run("--json").output)) >= {"coco", "vtab"}
    one = run("roxford5k").output
    assert "DIR/gnd_roxford5k.pkl" in one
    assert "licence:" in one
    assert "MD5 29b22e" in run("imagenet").output


def test_a_check_fails_with_1(tmp_path):
    found = run("coco", "--check", str(tmp_path))
    assert found.exit_code == 1
    assert found.output.startswith("NOT layout: ")
    assert json.loads(run("coco", "--check", str(tmp_path), "--json").output)["whole"] is False


def test_a_check_needs_a_name(tmp_path):
    with pytest.raises(UsageError, match="needs the name"):
        CliRunner().invoke(app, ["sources", "--check", str(tmp_path)], catch_exceptions=False, standalone_mode=False)
