"""`import openmofi`: light, typed, and its functions do what the command line does."""

import inspect
import os
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

import openmofi

HEAVY = ("torch", "numpy", "pyarrow", "scipy", "rich", "typer", "PIL", "matplotlib", "transformers")
REPORTING = ("ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK")


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_import_loads_nothing_heavy():
    loaded = fresh("import sys, openmofi; print(' '.join(sys.modules))").split()
    assert not [name for name in HEAVY if name in loaded]


def test_no_library_that_is_imported_prepares_to_report_to_its_makers(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in REPORTING}
    code = "import openmofi.encoders.graphs, onnxruntime"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment | home, check=True)
    assert not list(tmp_path.rglob("*onnx*"))
    assert not list(tmp_path.rglob("*deviceid*"))


def test_dir_and_all_name_what_there_is():
    functions = {"label", "load_encoder", "KnowledgeBase", "train", "evaluate", "explain", "build_dataset"}
    assert functions <= set(dir(openmofi))
    assert all(getattr(openmofi, name) is not None for name in openmofi.__all__)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="attribute lable"):
        openmofi.lable  # noqa: B018


def test_the_package_is_typed():
    assert (resources.files("openmofi") / "py.typed").is_file()


@pytest.mark.parametrize("name", [name for name in openmofi.__all__ if inspect.isfunction(getattr(openmofi, name))])
def test_public_functions_document_their_arguments_and_errors(name):
    function = getattr(openmofi, name)
    documentation = inspect.getdoc(function)
    for parameter in inspect.signature(function).parameters:
        assert f"{parameter}" in documentation, parameter
    assert "Raises:" in documentation
    assert all(hint != inspect.Parameter.empty for hint in inspect.signature(function).parameters.values())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda out: openmofi.evaluate("gpr12000", encoder="run:nowhere", data=out, out=out / "made"),
            "Unknown protocol",
        ),
        (lambda out: openmofi.evaluate("knn", data=out, out=out / "made"), "needs an encoder"),
        (lambda _: openmofi.load_encoder("run:nowhere", precision="bf17"), "unknown value 'bf17' for precision"),
        (lambda out: openmofi.train("mofi_vit_b16", out=out / "made", lr=0), "lr is 0"),
        (
            lambda out: openmofi.train("mofi_vit_b16", out=out / "made", **{"optimizer.lr": np.float32(0)}),
            "optimizer.lr is 0",
        ),
        (lambda out: openmofi.Run.open(out), "is not a run"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(call, says, tmp_path):
    with pytest.raises(openmofi.OpenMofiError, match=says):
        call(tmp_path)
    assert not (tmp_path / "made").exists()


def test_type_checkers_know_what_is_changed_by_keyword():
    """`python tools/changes.py` writes the stub anew."""
    from tools.changes import STUB, stub

    assert STUB.read_text("utf-8") == stub()
