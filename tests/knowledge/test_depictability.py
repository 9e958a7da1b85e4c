"""The prior of being shown, by types."""

import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa

import openmofi.knowledge
from openmofi.knowledge import KnowledgeBase, build_table, depictability
from openmofi.knowledge.projection import type_log_odds
from openmofi.plugins.starter.wordnet import LEXNAMES
from openmofi.schema import ENTITIES, NAMES
from openmofi.storage import write_table


def base(folder, *types: list[str]) -> KnowledgeBase:
    entities = [
        {"id": f"e{row}", "name": f"name {row}", "description": "", "types": of, "popularity": 1.0}
        for row, of in enumerate(types)
    ]
    names = [{"name": entity["name"], "entity": entity["id"], "count": 1.0} for entity in entities]
    write_table(folder / "source/entities.parquet", pa.Table.from_pylist(entities, ENTITIES))
    write_table(folder / "source/names.parquet", pa.Table.from_pylist(names, NAMES))
    build_table(folder / "source", folder / "kb")
    return KnowledgeBase.open(folder / "kb")


def test_the_largest_of_an_entitys_types_holds_and_unknown_ones_say_nothing(tmp_path):
    kb = base(
        tmp_path,
        ["noun.animal"],
        ["noun.cognition"],
        ["unheard of"],
        [],
        ["noun.cognition", "emoji"],
        ["unheard of", "noun.time"],
    )
    odds = type_log_odds()
    rows = kb.rows([f"e{row}" for row in range(6)])
    prior = depictability(kb, rows)
    assert prior.dtype == np.float32
    assert prior.tolist() == [odds["noun.animal"], odds["noun.cognition"], 0, 0, odds["emoji"], odds["noun.time"]]
    assert depictability(kb, rows[[4, 4, 0]]).tolist() == [odds["emoji"], odds["emoji"], odds["noun.animal"]]
    assert depictability(kb, []).shape == (0,)


def test_every_lexicographer_file_has_a_value_with_a_reason():
    table = tomllib.loads(Path(openmofi.knowledge.__file__).with_name("depictability.toml").read_text())
    assert set(LEXNAMES) <= set(table)
    assert all(entry["reason"] and -2 <= entry["log_odds"] <= 1.5 for entry in table.values())
    odds = type_log_odds()
    assert odds["noun.animal"] > odds["noun.artifact"] > odds["noun.person"] > odds["noun.cognition"]
