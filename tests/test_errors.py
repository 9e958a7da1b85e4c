"""What errors tell people to do."""

import importlib
import json
import sys

import pytest

from openmofi.cli.command import run_app
from openmofi.errors import install_command
from terminal import in_process, sentence

WHEEL = "file:///home/me/my%20wheels/openmofi-0.1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'openmofi[gcs]'"),
        ({"url": "file:///home/my%20self/mofi", "dir_info": {}}, "pip install '/home/my self/mofi[gcs]'"),
        ({"url": "file:///src/mofi", "dir_info": {"editable": True}}, "pip install -e '/src/mofi[gcs]'"),
        ({"url": WHEEL, "archive_info": {}}, f"pip install 'openmofi[gcs] @ {WHEEL}'"),
        (
            {"url": "https://example.org/mofi.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "pip install 'openmofi[gcs] @ git+https://example.org/mofi.git@abc'",
        ),
    ],
)
def test_an_extra_is_installed_from_where_the_package_came_from(tmp_path, monkeypatch, origin, command):
    installed = tmp_path / "openmofi-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: openmofi\nVersion: 0.1.0\n")
    if origin:
        (installed / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(tmp_path)
    assert install_command("gcs") == command
    done = in_process("label", "gs://bucket/a.tar", "--kb", "k", "--encoder", "e", "-o", "o", cwd=tmp_path)
    assert sentence(done) == "This needs the package 'gcsfs', which is not installed."
    assert done.stderr.endswith(f"\n  Install it with: {command}\n")


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("torch", "torch"),
        ("simplejpeg", "train"),
        ("onnx.reference", "export"),
        ("open_clip", "torch"),
        ("datasets", ""),
    ],
)
def test_a_command_that_lacks_a_package_says_which_extra_brings_it(module, extra, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)

    def app() -> None:
        importlib.import_module(module)

    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == 1
    command = install_command(extra) if extra else f"pip install {module}"
    assert capsys.readouterr().err == (
        f"error: This needs the package '{module.partition('.')[0]}', which is not installed.\n"
        f"  Install it with: {command}\n"
    )
