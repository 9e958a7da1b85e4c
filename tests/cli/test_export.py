"""`openmofi export` as a person meets it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.encoders import Companions
from openmofi.errors import UsageError
from openmofi.plugins.export.agreement import Agreement


class Some:
    """An encoder, as far as the command looks at it."""

    def __init__(self, spec, **_):
        self.companions = Companions(Path(spec.removeprefix("run:")))

    class preprocessing:
        size = 32
        decode_size = None


@pytest.fixture(autouse=True)
def exporting(monkeypatch):
    monkeypatch.setattr("openmofi.encoders.open_encoder", Some)
    monkeypatch.setattr("openmofi.encoders.as_encoder", lambda encoder: encoder)
    pytest.importorskip("torch")

    def export_encoder(encoder, out, settings, samples, **_options):
        paired = samples.paired
        return Agreement(
            samples.source,
            64,
            32,
            0.99991,
            0.9871,
            0.975,
            0.9999,
            0.98,
            0.5 if paired else None,
            0.4975 if paired else None,
        )

    monkeypatch.setattr("openmofi.plugins.export.job.export_encoder", export_encoder)


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)], catch_exceptions=False)


def test_what_is_told(tmp_path):
    done = run("some", "-o", tmp_path / "out")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "compared on: 64 generated images (give real ones with --images)",
        "cosine of images: mean 0.99991, least 0.98710; nearest neighbours kept: 97.5%",
        "cosine of 32 texts: mean 0.99990, least 0.98000",
        f"written: {tmp_path / 'out'}; opens as onnx:{tmp_path / 'out'}",
    ]


def test_real_pairs_and_json(tmp_path):
    from PIL import Image

    Image.new("RGB", (20, 20), "red").save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("red")
    place = ("some", "-o", tmp_path / "out", "--format", "openvino", "--images", tmp_path)
    assert "mAP of texts that look for their image: 0.5000 → 0.4975 (-0.0025)" in run(*place).stdout
    found = json.loads(run(*place, "--json").stdout)
    assert (found["spec"], found["loss"]) == (f"openvino:{tmp_path / 'out'}", pytest.approx(1e-4))


def test_what_is_put_beside_is_told(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/folds.json").touch()
    place = (f"run:{tmp_path / 'run'}", "-o", tmp_path / "out")
    assert "put beside it: folds.json" in run(*place).stdout
    assert json.loads(run(*place, "--json").stdout)["beside"] == ["folds.json"]


def test_wrong_words_are_met_before_the_encoder_opens(tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.encoders.open_encoder", lambda spec: pytest.fail("opened"))
    with pytest.raises(UsageError, match=r"Unknown format 'onx'\. Did you mean 'onnx'"):
        app(["export", "some", "-o", str(tmp_path / "out"), "--format", "onx"], standalone_mode=False)
