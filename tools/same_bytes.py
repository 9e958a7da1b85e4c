"""Make the same small jobs with two source trees and compare what they write, byte by byte.

    python tools/same_bytes.py OLD/src NEW/src [--keep FOLDER]

Each tree makes the demo, labels (one process, two, with an adapter, with verdicts, gone on after an interruption),
datasets and their exports, recognition, reinforcement, an index and evaluations, in a folder of the same name, so that
paths are equal too. Of JSON files the fields in `_VARY` are left out; of SQLite files the tables are compared, and of
texts and links in a cache, whose footers hold notes of the job's own, the rows.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

_VARY = {"/index", "created", "finished", "at", "seconds", "signature", "versions", "package_versions", "arguments"}
_HIDDEN = re.compile(r"(^|/)\.(?!openmofi\.command)|__pycache__")
_RANDOM = re.compile(r"\d{10}\.\d+|\d{4}-\d\d-\d\d[T ][\d:.+Z]+|[0-9a-f]{16}(?=\.npy|')")
_EXPORTS = ("huggingface", "webdataset", "parquet", "coco", "imagefolder")
_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.S)
_SHARDS = 4


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("trees", nargs="*", type=Path, help="folders that hold `openmofi`")
    parser.add_argument("--keep", type=Path, help="keep what is made there; what the first tree made is used again")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.make)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        made = [folder / name for name in ("first", "second")]
        for tree, result in zip(options.trees, made, strict=True):
            if result is made[0] and result.exists():
                continue
            shutil.rmtree(result, ignore_errors=True)
            shutil.rmtree(folder / "run", ignore_errors=True)
            (folder / "run").mkdir(parents=True)
            environment = {**os.environ, "PYTHONPATH": str(tree.resolve()), "OMP_NUM_THREADS": "1"}
            environment |= {"OPENMOFI_CACHE": str(folder / "run" / ".cache"), "PYTHONHASHSEED": "0"}
            command = [sys.executable, str(Path(__file__).resolve()), "--make", str(folder / "run")]
            subprocess.run(command, check=True, env=environment, cwd=folder / "run")
            (folder / "run").rename(result)
        differing = differences(*made)
        print("\n".join(differing) or f"{len(files_in(made[0]))} files: the same bytes.")
        sys.exit(bool(differing))


def differences(first: Path, second: Path) -> list[str]:
    """Return a line for each file that differs or is missing on one side."""
    before, after = (
        {steady_name(folder, name): folder / name for name in files_in(folder)} for folder in (first, second)
    )
    old, new = before.keys(), after.keys()
    lines = [f"only in the first: {name}" for name in sorted(old - new)]
    lines += [f"only in the second: {name}" for name in sorted(new - old)]
    for name in sorted(old & new):
        was, is_now = content(before[name]), content(after[name])
        if was != is_now:
            lines.append(f"differs: {name}{_where(was, is_now)}")
    return lines


def files_in(folder: Path) -> set[str]:
    """Return the relative names of all files, without hidden ones, caches and journals."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in names if not _HIDDEN.search(name) and not name.endswith(("-wal", "-shm"))}


def steady_name(folder: Path, name: str) -> str:
    """Return the name of a file; the vectors of an index, whose names are random, are named by their bytes."""
    path = Path(name)
    if path.parent.name != "vectors":
        return name
    return str(path.with_name(hashlib.sha256((folder / name).read_bytes()).hexdigest()))


def content(path: Path) -> Any:
    """Return what is compared of a file: its bytes, or its values where some of them vary."""
    if path.suffix == ".json" or path.parent.name == "printed":
        return _steady(json.loads(path.read_bytes()))
    if path.suffix == ".parquet" and path.parts[-3] in ("texts", "links"):
        return pq.read_table(path).replace_schema_metadata(None)
    if path.read_bytes()[:16] == b"SQLite format 3\0":
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return _RANDOM.sub("", "\n".join(connection.iterdump()))
    return path.read_bytes()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _steady(each) for name, each in value.items() if name not in _VARY}
    return [_steady(each) for each in value] if isinstance(value, list) else value


def _where(before: Any, after: Any, path: str = "") -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        names = [name for name in {*before, *after} if before.get(name) != after.get(name)]
        return "".join(_where(before.get(name), after.get(name), f"{path}/{name}") for name in sorted(names)[:5])
    shown = f": {str(before)[:60]} → {str(after)[:60]}" if path else ""
    return f" {path}{shown}"


_JOB = "label shards --kb demo/kb --encoder tiny --engine local"
_JOBS = {
    "local": f"{_JOB} -o local",
    "twice": f"{_JOB} -o local",
    "processes": f"{_JOB} -o processes --engine processes:2",
    "gone_on": f"{_JOB} -o processes --engine processes:2",
    "changed": f"{_JOB} -o changed --cache local --rescue --target-precision 0.9",
    "plain": f"{_JOB} -o plain --no-boilerplate --linker prior --top-k 2",
    "adapted": f"{_JOB} -o adapted --cache local --adapt",
    "given": f"{_JOB} -o given --calibration local/calibration.json --seed 3",
    "audit": "label audit local -o page.html --sample 60",
    "judged": f"{_JOB} -o judged --cache local --verdicts verdicts.json --target-precision 0.9",
    "precision": "label audit local --verdicts verdicts.json",
    "explained": "explain --image page.webp --text 'A map of France' --kb demo/kb --encoder tiny --calibration "
    "local/calibration.json",
    "dataset": "dataset build local -o dataset --kb demo/kb --min-images 2",
    **{f"{form}": f"dataset export dataset -o exports/{form} --format {form} --engine local" for form in _EXPORTS},
    "index": "index build local --encoder tiny --kb demo/kb -o index",
    "recognised": "recognise shards --index index --encoder tiny -o recognised --engine local",
    "searched": "search index --text map",
    "reinforced": "reinforce shards/part-0.tar --teachers tiny:50 --labels local --kb demo/kb -o store "
    "--augs 2 --captions 1 --entity-scores 3 --engine local",
}


def make(folder: Path) -> None:
    """Run the jobs with the tree that is on the path, in `folder`."""
    from openmofi.cli.main import app
    from openmofi.engine.engines import ProcessEngine

    ProcessEngine.few = 0
    (folder / "printed").mkdir()
    app(["demo", "--tiny", "-o", "demo", "--json"], standalone_mode=False)
    split(folder / "demo/pages/pages.tar", folder / "shards")
    for name, command in _JOBS.items():
        print(name, file=sys.stderr, flush=True)
        if name == "gone_on":
            shutil.rmtree(folder / "processes/links")
            (folder / "processes/labels/part-2.parquet").unlink()
        elif name == "judged":
            judge(folder / "page.html", folder / "verdicts.json")
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                app([*shlex.split(command), "--json"], standalone_mode=False)
        except (Exception, SystemExit) as error:
            printed.write(json.dumps(repr(error)))
            print(repr(error), file=sys.stderr)
        (folder / f"printed/{name}.txt").write_text(printed.getvalue())


def split(tar: Path, folder: Path) -> None:
    """Write the members of a shard into four."""
    folder.mkdir()
    with tarfile.open(tar) as whole:
        members = whole.getmembers()
        stems = sorted({member.name.split(".")[0] for member in members})
        for number in range(_SHARDS):
            chosen = set(stems[number::_SHARDS])
            with tarfile.open(folder / f"part-{number}.tar", "w") as part:
                for member in members:
                    if member.name.split(".")[0] in chosen:
                        part.addfile(member, whole.extractfile(member))
        image = whole.extractfile(next(member for member in members if member.name.endswith(".webp")))
        assert image is not None
        (folder.parent / "page.webp").write_bytes(image.read())


def judge(page: Path, out: Path) -> None:
    """Save verdicts as the page would: every fifth label is wrong."""
    found = _DATA.search(page.read_text("utf-8"))
    assert found is not None
    data = json.loads(found[1])
    names = ("shard", "key", "entity", "probability", "stratum")
    verdicts = [
        {**{name: item[name] for name in names}, "verdict": "n" if number % 5 == 0 else "y"}
        for number, item in enumerate(data["items"])
    ]
    out.write_text(json.dumps({**data["file"], "verdicts": verdicts}))


if __name__ == "__main__":
    main()
