"""What the site has beside docs/: pages that lie elsewhere in the repository, and references made of the code itself.

MkDocs calls `on_files` and `on_page_markdown` (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# A file of the repository → its page or image.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "THIRD_PARTY_NOTICES.md": "notices.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
    "deploy/README.md": "deploy.md",
} | {
    f"benchmarks/results/{chart.name}": f"results/{chart.name}"
    for suffix in ("svg", "png")
    for chart in ROOT.glob(f"benchmarks/results/*.{suffix}")
}
_LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, "reference/cli.md", content=command_reference()))
    files.append(File.generated(config, "reference/json.md", content=schema_reference()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links at files of the repository to their pages; those without a page become plain text."""
    uri = page.file.src_uri
    source = next((path for path, name in PAGES.items() if name == uri), f"docs/{uri}")

    def pointed(match: re.Match[str]) -> str:
        target = normpath(f"{dirname(source)}/{match['target']}") if dirname(source) else normpath(match["target"])
        if not target.startswith("docs/") and target not in PAGES and (ROOT / target).exists():
            # Licences, scripts and code are in the repository and not on the site.
            return match["text"].strip("[]")
        page = PAGES[target] if target in PAGES else target.removeprefix("docs/")
        return f"{match['text']}({relpath(page, dirname(uri) or '.')}{match['anchor'] or ''})"

    return _LINK.sub(pointed, markdown)


def command_reference() -> str:
    """Every command with its options, as `--help` says them."""
    from openmofi.cli.main import commands

    lines = [
        "# Command line",
        "",
        "Made of the commands themselves; `openmofi COMMAND --help` says the same.",
        "Exit codes: 0, 1 (failed), 2 (wrong use), 130 (interrupted).",
        "",
    ]
    for words, command in commands():
        name = " ".join(("openmofi", *words))
        context = command.make_context(name, [], resilient_parsing=True, max_content_width=78, terminal_width=78)
        lines += [f"## {name}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(lines)


def schema_reference() -> str:
    """What `--json` prints, by command."""
    from openmofi.cli.schemas import schema_names, schema_of

    lines = [
        "# JSON outputs",
        "",
        "A command with `--json` prints one JSON value. Its schema (JSON Schema 2020-12)",
        "is in the package: `openmofi schema NAME` prints it. Keys may be added; none changes its meaning within",
        "a version. The tests check what the commands print against these schemas.",
        "",
    ]
    for name in schema_names():
        schema = schema_of(name)
        lines += [f"## {name}", "", schema.get("description", ""), "", "| key | type | |", "|---|---|---|"]
        lines += [
            f"| `{key}` | {_type(value)} | {value.get('description', '')} |"
            for key, value in schema.get("properties", {}).items()
        ]
        lines.append("")
    return "\n".join(lines)


def _type(schema: dict[str, Any]) -> str:
    kinds = schema.get("type", "any")
    return " or ".join([kinds] if isinstance(kinds, str) else kinds)
