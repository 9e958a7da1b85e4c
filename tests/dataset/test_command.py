import json

import pytest
from typer.testing import CliRunner

from openmofi.cli.dataset import app
from openmofi.errors import UsageError

runner = CliRunner()


def test_build_and_audit_as_json(world, tmp_path):
    out = tmp_path / "d"
    built = runner.invoke(
        app,
        ["build", str(world.labels), "-o", str(out), "--min-images", "4", "--near-duplicates", "off", "--json"],
        catch_exceptions=False,
    )
    assert json.loads(built.stdout)["rows"] == 240
    assert (out / "report.html").exists()
    audited = runner.invoke(
        app,
        ["audit", str(world.labels), "--truth", str(world.truth), "--json", "-o", str(tmp_path / "a.json")],
        catch_exceptions=False,
    )
    assert json.loads(audited.stdout) == json.loads((tmp_path / "a.json").read_text())


def test_build_and_audit_as_tables(world, tmp_path):
    built = runner.invoke(
        app, ["build", str(world.labels), "-o", str(tmp_path / "d"), "--no-report"], catch_exceptions=False
    )
    assert "near_duplicate" in built.stdout
    assert not (tmp_path / "d" / "report.html").exists()
    for folder in (world.labels, tmp_path / "d"):
        audited = runner.invoke(app, ["audit", str(folder), "--truth", str(world.truth)], catch_exceptions=False)
        assert "heldout_pages" in audited.stdout
        assert ("precision of labels at recall 0.75" in audited.stdout) == (folder == world.labels)


def test_wrong_use_is_an_error_of_ours(world, tmp_path):
    with pytest.raises(UsageError, match="near-duplicates"):
        runner.invoke(
            app,
            ["build", str(world.labels), "-o", str(tmp_path / "d"), "--near-duplicates", "x"],
            catch_exceptions=False,
        )
