"""Builds wheel and sdist, checks them, and does the tiny demo in an empty environment that has the wheel alone.

    python tools/wheel.py [--out dist]

Prints what was downloaded, in MB, and CPU seconds. Neither PyTorch nor the checkout is reachable from the demo.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The demo must find nothing of this checkout, nor anything in a cache of this machine.
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENMOFI", "VIRTUAL_ENV"))
}


def run(*command: object, cwd: Path, **variables: str) -> str:
    """The standard output of a command; ends this program with what it printed where it fails."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=CLEAN | variables, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def built(out: Path) -> Path:
    """Build sdist and, from it, the wheel; check both by twine; the wheel."""
    shutil.rmtree(out, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=ROOT)
    run(sys.executable, "-m", "twine", "check", "--strict", *out.iterdir(), cwd=ROOT)
    wheel = next(out.glob("*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "openmofi/py.typed",
        "openmofi/encoders/tiny/image.onnx",
        "openmofi/encoders/photo/heads.safetensors",
        "openmofi/plugins/demo/data/pages.tar",
        "openmofi/plugins/server/built/index.html",
        "openmofi/plugins/server/built/LICENSE-preact",
    ):
        if name not in names:
            sys.exit(f"{wheel} lacks {name}.")
    return wheel


def installed(wheel: Path, folder: Path) -> tuple[Path, float]:
    """An environment with the wheel and what it needs: its Python, and MB that pip took from registry or cache."""
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    run(
        *pip,
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--requirement",
        ROOT / "requirements/base.txt",
        cwd=folder,
    )
    run(*pip, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    run(*pip, "check", cwd=folder)
    packages = [item["name"] for item in json.loads(run(*pip, "list", "--format=json", cwd=folder))]
    if {"torch", "transformers"} & set(packages):
        sys.exit("The default install brings PyTorch.")
    installed_size = sum(path.stat().st_size for path in (folder / "lib").rglob("*") if path.is_file())
    print(f"{len(packages)} packages, {installed_size / 1e6:.0f} MB installed")
    return python, wheel.stat().st_size / 1e6


def demo(python: Path, folder: Path) -> dict[str, float]:
    """The figures of `openmofi demo --tiny`, in an empty folder and without the network."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # A proxy that nobody listens at: whoever reaches for the network fails.
    said = run(
        python,
        "-I",
        "-m",
        "openmofi",
        "demo",
        "--tiny",
        "--json",
        cwd=folder,
        HOME=str(folder),
        https_proxy="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
        OMP_NUM_THREADS="1",
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    metrics: dict[str, float] = json.loads(said)
    print(
        f"demo: {after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.0f} CPU seconds, precision "
        f"{metrics['precision']:.3f}, recall {metrics['recall']:.3f}, expected {metrics['expected_precision']:.3f}"
    )
    if metrics["rows_in"] != metrics["rows_out"] or not (folder / "openmofi-demo/report.html").exists():
        sys.exit(f"The demo is not whole: {said}")
    return metrics


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of wheel and sdist")
    wheel = built(options.parse_args().out)
    with tempfile.TemporaryDirectory(prefix="openmofi-wheel-") as temporary:
        folder = Path(temporary)
        python, size = installed(wheel, folder / "environment")
        (folder / "empty").mkdir()
        demo(python, folder / "empty")
    print(f"{wheel.name}: {size:.1f} MB; whole")


if __name__ == "__main__":
    main()
