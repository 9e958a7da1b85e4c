"""Every cell of the notebooks runs, in order, on the small world in place of the files that come with the package."""

import json
import shutil
from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest

from openmofi.pairs import Record, read_pairs, write_tar
from openmofi.plugins import demo as tiny
from openmofi.storage import expand_shards, write_table
from small_world import write_kb_source

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs/notebooks").glob("*.ipynb"))
CELL = {"type": "object", "required": ["cell_type", "id", "metadata", "source"]}
NOTEBOOK = {
    "type": "object",
    "required": ["cells", "metadata", "nbformat", "nbformat_minor"],
    "properties": {"cells": {"items": CELL}, "nbformat": {"const": 4}},
}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(path, small_world, small_encoder, tmp_path, monkeypatch, capsys):
    notebook = json.loads(path.read_text("utf-8"))
    jsonschema.validate(notebook, NOTEBOOK)
    files = tmp_path / "files"
    pairs = [pair for shard in expand_shards([str(small_world.shards)])[:2] for pair in read_pairs(shard)]
    keys = {pair.key for pair in pairs}
    write_tar(files / "pages.tar", [Record(pair.key, pair.image or b"", pair.text) for pair in pairs])
    write_kb_source(files / "kb")
    write_table(
        files / "truth.parquet",
        pa.Table.from_pylist(
            [{"key": key, "entity": entity} for (_, key), entity in small_world.truth.items() if key in keys]
        ),
    )
    monkeypatch.setattr(tiny, "FILES", files)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        assert not cell.get("outputs"), "committed without outputs"
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).replace('"tiny"', repr(small_encoder))
            exec(compile(source, f"{path.name}[{cell['id']}]", "exec"), names)
            assert "print(" not in source or capsys.readouterr().out.strip(), source
    assert names["labels"].summary["rows_in"] == len(pairs)
    shutil.rmtree(files)
