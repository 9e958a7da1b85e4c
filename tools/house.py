"""Measures the house: code lines, files, folders, imports, and what one fresh label job enters.

    python tools/house.py [--json benchmarks/results/house.json]

Code lines are counted after `ruff format`, without blanks, comments and docstrings. The job labels the packaged pages
in one process; a call climbs where it goes to a room that stands above the caller's (pyproject.toml, `layers`).
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import tokenize
import tomllib
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "openmofi"
PLUGINS = "plugins"
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--json", type=Path, help="also write the figures there")
    options.add_argument("--trace", type=Path, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.trace:
        print(json.dumps(traced(arguments.trace)))
        return
    figures = {**counted(), **_in_a_process_of_its_own()}
    for name, value in figures.items():
        print(f"{name:24} {', '.join(value) if isinstance(value, list) else value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def counted() -> dict[str, Any]:
    """Return lines, files and folders of the package, formatted."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "openmofi"
        shutil.copytree(PACKAGE, copy, ignore=lambda _, names: [name for name in names if name == "__pycache__"])
        subprocess.run(
            [sys.executable, "-m", "ruff", "format", "--quiet", "--config", ROOT / "pyproject.toml", copy], check=True
        )
        files = sorted(copy.rglob("*.py"))
        counts = {file: lines_of(file.read_text("utf-8")) for file in files}
        core = [file for file in files if PLUGINS not in file.relative_to(copy).parts]
        code, imports = (sum(count[part] for count in counts.values()) for part in (0, 1))
        return {
            "code_lines": code,
            "core_code_lines": sum(counts[file][0] for file in core),
            "files": len(files),
            "folders": len({file.parent for file in files}),
            "imports_percent": round(100 * imports / code, 1),
        }


def lines_of(text: str) -> tuple[int, int]:
    """Return the number of code lines and how many of these are imports."""
    tree = ast.parse(text)
    strings = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    } - strings
    imports = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    return len(code), len(code & imports)


def _in_a_process_of_its_own() -> dict[str, Any]:
    """Trace a job where nothing of the package was imported or cached before."""
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(
            [sys.executable, "-m", "openmofi", "demo", "--tiny", "-o", f"{temporary}/demo", "--json"],
            check=True,
            capture_output=True,
        )
        done = subprocess.run(
            [sys.executable, __file__, "--trace", temporary], check=True, capture_output=True, text=True
        )
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures


def traced(folder: Path) -> dict[str, Any]:
    """Return what a label job of `folder/demo` enters: files, functions, folders, and the calls that climb."""
    import openmofi

    root, floors = f"{Path(openmofi.__file__).parent}/", floors_of()
    functions: set[tuple[str, str]] = set()
    edges: set[tuple[str, str]] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(root):
            return
        functions.add((name.removeprefix(root), frame.f_code.co_qualname))
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(root):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != name:
            edges.add((caller.f_code.co_filename.removeprefix(root), name.removeprefix(root)))

    demo = folder / "demo"
    encoder, kb = openmofi.load_encoder("tiny"), openmofi.KnowledgeBase.open(f"{demo}/kb")
    pages = next(path for path in (demo / "pages", demo / "pages.tar") if path.exists())
    threading.setprofile(profile)
    sys.setprofile(profile)
    openmofi.label(str(pages), kb=kb, encoder=encoder, out=str(folder / "out"), engine="local", progress=False)
    sys.setprofile(None)
    threading.setprofile(None)
    files = {file for file, _ in functions}
    climbs = sorted(
        {
            f"{caller.split('/')[0]} → {file.split('/')[0]}"
            for caller, file in edges
            if floors.get(_room(file), 0) > floors.get(_room(caller), 0)
        }
    )
    return {
        "entered_files": len(files),
        "entered_functions": len(functions),
        "entered_folders": len({str(Path(file).parent) for file in files}),
        "climbs": climbs,
    }


def floors_of() -> dict[str, int]:
    """Return room → floor, counted from the ground, as the import contract of pyproject.toml has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {
        room.strip().removeprefix("openmofi."): floor
        for floor, layer in enumerate(reversed(layers))
        for room in layer.split("|")
    }


def _room(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


if __name__ == "__main__":
    main()
