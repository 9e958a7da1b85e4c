"""Makes docs/labels.png, README's first image, of a finished demo: `python tools/site/labels_image.py openmofi-demo`.

Pages are taken by what there is to see: a label against others that the text names, one of an ambiguous name,
none where nothing that is named is shown.
"""

from __future__ import annotations

import base64
import html
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import read_pairs
from openmofi.storage import expand_shards

OUT = Path(__file__).parents[2] / "docs/labels.png"
STYLE = """body{margin:0;padding:18px;font:15px/1.35 'DejaVu Sans',sans-serif;background:#f4f6f6;color:#17252a;display:flex;gap:14px}
.card{background:#fff;border:1px solid #d5dcdc;border-radius:10px;width:262px;overflow:hidden}
.card img{width:262px;height:190px;object-fit:contain;background:#e9eded}.text{padding:10px 12px;height:66px;font-style:italic}
.row{padding:6px 12px;border-top:1px solid #eef1f1;display:flex;justify-content:space-between;gap:10px}
.yes{background:#e2f3ec;font-weight:bold}.no{color:#8a9798;text-decoration:line-through}.none{color:#8a9798}"""  # noqa: E501


def chosen(rows: list[dict[str, Any]], truth: dict[str, str]) -> list[dict[str, Any]]:
    """Four rows, each the first of its kind whose label, if any, is true."""

    def entities(row: dict[str, Any]) -> tuple[list[str], list[str]]:
        return (
            [entity["entity"] for entity in row["entities"] if entity["accepted"]],
            [entity["entity"] for entity in row["entities"] if not entity["accepted"]],
        )

    def kind(row: dict[str, Any]) -> str:
        yes, no = entities(row)
        mentions = {entity["mention"] for entity in row["entities"]}
        if not row["text"].isascii() or len(row["text"]) > 70 or yes not in ([], [truth[row["key"]]]):
            return ""
        if yes:
            return "against others" if len(mentions) > 1 else "senses" if len(no) > 2 else ""
        named = 0 < len(no) < 4 and truth[row["key"]] not in no
        return "none" if named and row["status"] == "rejected" else ""

    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(kind(row), []).append(row)
    return [found["against others"][0], found["senses"][0], found["against others"][1], found["none"][0]]


def card(row: dict[str, Any], image: bytes, kb: KnowledgeBase) -> str:
    """A page with its candidates, the best four."""
    ordered = sorted(row["entities"], key=lambda entity: -entity["probability"])[:3]
    lines = "".join(
        f'<div class="row {"yes" if entity["accepted"] else "no"}"><span>'
        f"{html.escape(kb[entity['entity']].name)}: {html.escape(kb[entity['entity']].description[:20])}…</span>"
        f"<span>{entity['probability']:.2f}</span></div>"
        for entity in ordered
    )
    data = base64.b64encode(image).decode()
    return (
        f'<div class="card"><img src="data:image/webp;base64,{data}"><div class="text">“{html.escape(row["text"])}”'
        f"</div>{lines}</div>"
    )


def main(demo: Path) -> None:
    """See the module."""
    kb = KnowledgeBase.open(demo / "kb")
    truth = {row["key"]: row["entity"] for row in pq.read_table(demo / "truth.parquet").to_pylist()}
    rows = chosen(pq.read_table(demo / "labels/labels/pages.parquet").to_pylist(), truth)
    [shard] = expand_shards([str(demo / "pages")])
    images = {pair.key: pair.image for pair in read_pairs(shard)}
    body = "".join(card(row, images[row["key"]] or b"", kb) for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(f"<meta charset=utf-8><style>{STYLE}</style>{body}", "utf-8")
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                "--window-size=1140,420",
                f"--screenshot={OUT}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
