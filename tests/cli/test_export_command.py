"""`openmofi export` of a checkpoint, from the command to the library."""

import json

import pytest
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.errors import UsageError


def test_a_checkpoint_with_a_card(tmp_path):
    timm = pytest.importorskip("timm")
    arguments = [
        "export",
        "timm:test_vit/none?seed=3",
        "--format",
        "timm",
        "-o",
        str(tmp_path / "out"),
        "--license",
        "mit",
        "--dataset",
        "shapes",
        "--name",
        "tiny",
    ]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "pretrained=True" in done.stdout
    assert timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).num_classes == 0
    again = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(again.stdout)["loss"] < 1e-3
    with pytest.raises(UsageError, match="fp32"):
        CliRunner().invoke(app, [*arguments, "--precision", "int8"], catch_exceptions=False)
