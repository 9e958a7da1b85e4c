"""Builds what `openmofi serve` serves: src/openmofi/plugins/server/page → src/openmofi/plugins/server/built.

    python tools/page/build.py [OUT]

`npm ci` fetches exactly what package-lock.json names, esbuild (https://esbuild.github.io) among it. What the first look
does not need is in files of its own (`import()`); the names of all files hold the digest of their bytes, so that
browsers may keep them for ever. What is built is committed: who installs OpenMOFI needs neither npm nor a network.
To take other versions: change package.json, run `npm install --package-lock-only` in this folder, then this script.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "src/openmofi/plugins/server/page"
BUILT = PAGE.with_name("built")
OPTIONS = (
    *(
        "--bundle",
        "--splitting",
        "--format=esm",
        "--minify",
        "--target=es2022",
        "--charset=utf8",
        "--legal-comments=none",
    ),
    *("--loader:.svg=dataurl", "--entry-names=[name]-[hash]", "--chunk-names=[name]-[hash]", "--log-level=warning"),
)


class Unreachable(Exception):
    """npm's registry cannot be reached."""


def sources() -> str:
    """A digest of all that the page is built of."""
    digest = hashlib.sha256((HERE / "package-lock.json").read_bytes())
    for path in sorted(path for path in PAGE.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(PAGE).as_posix()}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def build(out: Path) -> None:
    """Write the page into `out`, which is emptied first, with the licences of what is in it.

    Raises:
        Unreachable: npm fetched nothing; it has printed why.
        subprocess.CalledProcessError: esbuild found an error, which it has printed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        npm = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
        if subprocess.run(npm, cwd=folder).returncode:
            raise Unreachable("npm could not fetch the packages")
        # Names of files depend on where the sources lie beside the packages.
        shutil.copytree(PAGE, folder / "page")
        esbuild = ("node_modules/.bin/esbuild", "page/app.js", "page/app.css", *OPTIONS)
        subprocess.run((*esbuild, "--outdir=built", "--metafile=meta.json"), cwd=folder, check=True)
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(folder / "built", out)
        (out / "index.html").write_text(_index(meta), "utf-8")
        (out / "README.md").write_text(_list(meta, folder / "node_modules", out), "utf-8")


def _index(meta: dict[str, dict[str, dict]]) -> str:
    """The page itself, with the addresses of what it asks for at once."""
    entries = {entry["entryPoint"]: Path(name).name for name, entry in meta["outputs"].items() if "entryPoint" in entry}
    app = meta["outputs"][f"built/{entries['page/app.js']}"]
    shared = [Path(each["path"]).name for each in app["imports"] if each["kind"] == "import-statement"]
    icon = base64.b64encode((PAGE / "icon.svg").read_bytes()).decode()
    text = (PAGE / "index.html").read_text("utf-8")
    for source, address in {
        "icon.svg": f"data:image/svg+xml;base64,{icon}",
        "app.css": f"static/{entries['page/app.css']}",
        "app.js": f"static/{entries['page/app.js']}",
    }.items():
        text = text.replace(f'"{source}"', f'"{address}"')
    preloads = "".join(f'  <link rel="modulepreload" href="static/{name}">\n' for name in shared)
    return text.replace("</head>", f"{preloads}</head>")


def _list(meta: dict[str, dict[str, dict]], modules: Path, out: Path) -> str:
    """What of others is in it; copies their licences."""
    inside = {name.removeprefix("node_modules/") for name in meta["inputs"] if name.startswith("node_modules/")}
    rows = []
    for package in sorted({"/".join(name.split("/")[: 2 if name.startswith("@") else 1]) for name in inside}):
        about = json.loads((modules / package / "package.json").read_text("utf-8"))
        licence = f"LICENSE-{package.removeprefix('@').replace('/', '-')}"
        shutil.copyfile(modules / package / "LICENSE", out / licence)
        rows.append(f"| {package} | {about['version']} | {about['license']} ([text]({licence})) |\n")
    return (
        f"Written by `make page`, of `../page` and of these packages; sources {sources()}.\n\n"
        f"| package | version | licence |\n|---|---|---|\n{''.join(rows)}"
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else BUILT)
