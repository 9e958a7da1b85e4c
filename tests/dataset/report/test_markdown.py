"""Names of data in Markdown: whatever they hold, a renderer shows them and reads no markup."""

import json

import pyarrow.parquet as pq
import pytest

from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.dataset.collect import read_statistics
from openmofi.dataset.report.report import markdown_text, write_card
from openmofi.dataset.tables import Folder
from openmofi.plugins.benchmarks.compare import table_row
from openmofi.storage import read_manifest

from ..conftest import NASTY

HOSTILE = [
    NASTY,
    "a|b",
    "line\nbreak\r\n| x |",
    "`code`",
    "[a](javascript:alert(1))",
    "![a](http://x/y.png)",
    "<img src=x onerror=alert(1)>",
    "*b* **c** _d_ __e__ ~~f~~",
    "\\| \\<script>",
    "&lt;script&gt;",
    "https://evil.example/x",
    "www.evil.example",
    "a\x00b\x1b[31m",
    "\u2028| x",
    "```\n<b>",
    "<!-- ",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_one_cell_without_html_and_links(text):
    markdown_it = pytest.importorskip("markdown_it")
    document = f"| {markdown_text('name')} |\n|---|\n{table_row([text])}\n"
    html = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").render(document)
    assert html.count("<td>") == 1
    cell = html[html.index("<td>") + 4 : html.index("</td>")]
    assert "<" not in cell
    shown = "".join(character if character.isprintable() else " " for character in text)
    unescaped = cell.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    assert unescaped.strip() == " ".join(shown.split(" ")).strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_it_is_markup(text):
    escaped = markdown_text(text)
    assert not set(escaped) & set("<>\n\r\x00\u2028")
    for mark in "|`*[]~":
        assert escaped.replace("\\\\", "").count(mark) == escaped.replace("\\\\", "").count(f"\\{mark}")
    assert "://" not in escaped
    assert "www." not in escaped


def test_plain_names_stay_as_they_are():
    for name in ("near_duplicate", "retrieval/recall_at_1", "hf:model-b/16, p = 0.05", "ImageNet (val)", "é 猫"):
        assert markdown_text(name) == name


def test_the_card_of_hostile_names_has_none_of_their_markup(world, lookup, tmp_path):
    build_dataset(world.labels, tmp_path / "d", DatasetSettings(3), kb=lookup, report=False)
    path = tmp_path / "d" / "statistics.json"
    raw = json.loads(path.read_text())
    raw["types"] = {"a|b <script>alert(1)</script>": {"entities": 1, "labels": 1}}
    path.write_text(json.dumps(raw))
    manifest = read_manifest(world.labels)
    manifest.inputs["<img src=x>"] = "abc"
    manifest.settings["encoder"] = "```\n</code></pre><script>alert(2)</script>"
    write_card(Folder.open(tmp_path / "d"), manifest, read_statistics(tmp_path / "d"))
    card = (tmp_path / "d" / "DATASET_CARD.md").read_text()
    assert "<script" not in card
    assert "<img" not in card
    assert "| a\\|b &lt;script&gt;alert(1)&lt;/script&gt; | 1 | 1 |" in card
    # The block of settings is closed by nothing but its own fence.
    assert sum(line.startswith("```") for line in card.splitlines()) == 4
    assert pq.read_table(tmp_path / "d" / "vocabulary.parquet").num_rows > 0
