"""Writes `requirements/`: every package that `make` and the Docker images install, with its version and its hashes.

    make lock                       # today's pins stay, as far as pyproject.toml allows them
    make lock UPGRADE=--upgrade     # the newest releases

PyTorch stands in files of its own, because the build that fits depends on the machine: `torch.txt` is PyPI's build with
the CUDA libraries that it needs on Linux; `torch-cpu.txt` is PyTorch's own build without them, which pip takes from
where PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL leads.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
EXTRAS = {
    "base": "",
    "serve": "serve,map",
    "train": "train,serve,map",
    "cluster": "cluster,s3",
    "sample": "sample",
    "dev": "dev",
}
BUILD = "editables>=0.5\nhatchling>=1.25\nsetuptools>=77\n"
TORCH = {"torch": "2.13.0", "torchvision": "0.28.0"}
CPU_HASHES = {
    "torch": "4f7e6cd74b42b250b2057d48c5b987cedb04544857c49424e144739180e70342",
    "torchvision": "75ede9c4f26ab71001355f492d0274d8ff23f438891868afaed4969644285360",
}
"""sha256 of the wheels `NAME-VERSION+cpu-cp311-cp311-linux_x86_64.whl`."""
_TORCH = re.compile(r"(nvidia-|cuda-|triton|torch==|torchvision==)")


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--upgrade", action="store_true", help="take the newest releases")
    upgrade = options.parse_args().upgrade
    FOLDER.mkdir(exist_ok=True)
    pins = [] if upgrade else blocks(FOLDER / "dev.txt")
    torch = "".join(f"{name}=={version}\n" for name, version in TORCH.items())
    with tempfile.TemporaryDirectory() as temporary:
        out, build, constraints, torch_in = (
            Path(temporary) / name for name in ("out.txt", "build.in", "constraints.in", "torch.in")
        )
        build.write_text(BUILD)
        torch_in.write_text(torch)
        constraints.write_text("".join(f"{block.split()[0]}\n" for block in pins) + torch)
        resolve(out, build, constraints=constraints)
        write("build", blocks(out))
        for name, extras in EXTRAS.items():
            resolve(out, ROOT / "pyproject.toml", constraints=constraints, extras=extras)
            write(name, [block for block in blocks(out) if not _TORCH.match(block)])
        resolve(out, torch_in, constraints=constraints)
        write("torch", [block for block in blocks(out) if _TORCH.match(block)])
    write(
        "torch-cpu",
        [f"{name}=={version}+cpu \\\n    --hash=sha256:{CPU_HASHES[name]}" for name, version in TORCH.items()],
    )


def resolve(out: Path, *sources: Path, constraints: Path, extras: str = "") -> None:
    """Write the versions and hashes that `sources` come to, on every system and Python that we support."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11.5",
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
        "--constraints",
        constraints,
        "--output-file",
        out,
        "--upgrade",
        *(f"--extra={extra}" for extra in extras.split(",") if extra),
        *sources,
    ]
    subprocess.run([str(word) for word in command], check=True, cwd=ROOT)


def blocks(path: Path) -> list[str]:
    """The requirements of a file, each with its hashes."""
    return re.findall(r"^[a-z].*(?:\n {4}.*)*", path.read_text(), re.MULTILINE) if path.exists() else []


def write(name: str, requirements: list[str]) -> None:
    """Write `requirements/NAME.txt`."""
    head = "# Written by tools/lock.py; `make lock` writes it again.\n"
    (FOLDER / f"{name}.txt").write_text(head + "\n".join(requirements) + "\n")


if __name__ == "__main__":
    main()
