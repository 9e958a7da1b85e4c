"""Copies what the page is made of from npm into src/openmofi/plugins/server/page/vendor.

    python tools/page/vendor.py

`npm ci` fetches exactly what package-lock.json names; nothing is bundled or minified here. The page has no import map,
which a strict Content-Security-Policy would refuse as an inline script: bare imports become relative ones.
To take other versions: change package.json, run `npm install --package-lock-only` in this folder, then this script.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
VENDOR = HERE.parents[1] / "src" / "openmofi" / "plugins" / "server" / "page" / "vendor"
FILES = {
    "preact/dist/preact.mjs": "preact.js",
    "preact/hooks/dist/hooks.mjs": "preact-hooks.js",
    "@preact/signals-core/dist/signals-core.mjs": "signals-core.js",
    "@preact/signals/dist/signals.mjs": "signals.js",
    "htm/dist/htm.module.js": "htm.js",
    "photoswipe/dist/photoswipe.esm.min.js": "photoswipe.js",
    "photoswipe/dist/photoswipe.css": "photoswipe.css",
}
IMPORTS = {"preact": "preact.js", "preact/hooks": "preact-hooks.js", "@preact/signals-core": "signals-core.js"}


def vendor(out: Path) -> None:
    """Write the files, their licences and a list of both into `out`, which is emptied first."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
        modules = Path(folder) / "node_modules"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        for source, name in FILES.items():
            (out / name).write_text(_relative((modules / source).read_text(encoding="utf-8")), encoding="utf-8")
        (out / "README.md").write_text(_list(modules, out), encoding="utf-8")


def _relative(text: str) -> str:
    text = re.sub(r"\n?(?://|/\*)# sourceMappingURL=\S+(?: \*/)?\s*$", "\n", text)
    return re.sub(r'(\bfrom ?|\bimport ?)"([^".][^"]*)"', lambda found: f'{found[1]}"./{IMPORTS[found[2]]}"', text)


def _list(modules: Path, out: Path) -> str:
    rows = []
    for package in sorted({"/".join(source.split("/")[: 2 if source.startswith("@") else 1]) for source in FILES}):
        about = json.loads((modules / package / "package.json").read_text(encoding="utf-8"))
        licence = f"LICENSE-{package.removeprefix('@').replace('/', '-')}"
        shutil.copyfile(modules / package / "LICENSE", out / licence)
        files = ", ".join(f"`{name}`" for source, name in FILES.items() if source.startswith(f"{package}/"))
        rows.append(f"| {package} | {about['version']} | {about['license']} ([text]({licence})) | {files} |")
    return (
        "Files of others, unchanged but for the addresses of their imports; written by `tools/page/vendor.py`.\n\n"
        "| package | version | licence | files |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    vendor(Path(sys.argv[1]) if len(sys.argv) > 1 else VENDOR)
