import json
import subprocess
import sys

from typer.testing import CliRunner

from openmofi.cli.encoder import app


def test_info_as_json_and_as_a_table(clip_folder):
    spec = f"hf:{clip_folder}"
    found = json.loads(CliRunner().invoke(app, ["info", spec, "--json"], catch_exceptions=False).stdout)
    assert (found["spec"], found["dim"], found["preprocessing"]["size"]) == (spec, 16, 32)
    table = CliRunner().invoke(app, ["info", spec], catch_exceptions=False).stdout
    assert found["fingerprint"] in table


def test_importing_the_room_imports_nothing_heavy():
    code = (
        "import sys, openmofi.encoders, openmofi.cli.encoder; "
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
