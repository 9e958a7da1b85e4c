"""What files of Commons depict, as truth; and labels below and above the true class."""

import bz2
import gzip
import json

import pytest

from openmofi.errors import OpenMofiError
from openmofi.knowledge import build_table
from openmofi.knowledge.store import KnowledgeBase
from openmofi.plugins.audit.audit import audit
from openmofi.plugins.audit.truth_table import read_truth_table


def mediainfo(number, *depicts, rank="normal"):
    return {
        "type": "mediainfo",
        "id": f"M{number}",
        "labels": {},
        "statements": {
            "P180": [
                {
                    "mainsnak": {
                        "snaktype": "value",
                        "property": "P180",
                        "datavalue": {"type": "wikibase-entityid", "value": {"entity-type": "item", "id": entity}},
                    },
                    "rank": rank,
                }
                for entity in depicts
            ]
        }
        if depicts
        else [],
    }


FILES = [mediainfo(1, "Q1", "Q2", "Q1"), mediainfo(2, "Q3", rank="deprecated"), mediainfo(3)]
ROWS = [{"key": "M1", "entity": "Q1"}, {"key": "M1", "entity": "Q2"}]


def dump(entities=FILES):
    return "[\n" + ",\n".join(map(json.dumps, entities)) + "\n]\n"


@pytest.mark.parametrize(("name", "opener"), [("d.json", open), ("d.json.gz", gzip.open), ("d.json.bz2", bz2.open)])
def test_a_dump(tmp_path, name, opener):
    with opener(tmp_path / name, "wt") as file:
        file.write(dump())
    assert read_truth_table(tmp_path / name).to_pylist() == ROWS


@pytest.mark.parametrize("content", [{"entities": {each["id"]: each for each in FILES}}, FILES[0], FILES])
def test_what_the_api_gives(tmp_path, content):
    (tmp_path / "api.json").write_text(json.dumps(content))
    assert read_truth_table(tmp_path / "api.json").to_pylist() == ROWS


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "holds no files of Wikimedia Commons"),
        ("", "holds no files"),
        ('{"a": 1}', "holds no files"),
        (dump()[:-3], "cut off"),
        (dump()[:80], "damaged after 0 files"),
        ("no json", "damaged after 0 files"),
    ],
)
def test_anything_else_is_a_sentence(tmp_path, content, says):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(OpenMofiError, match=says):
        read_truth_table(tmp_path / "bad.json")


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """Q1 crane < Q2 bird < Q3 animal; Q4 machine."""
    source = tmp_path_factory.mktemp("tables")
    (source / "entities.csv").write_text(
        "id,name,description,types\nQ1,crane,a bird,\nQ2,bird,an animal,\nQ3,animal,a being,\nQ4,machine,a thing,\n"
    )
    (source / "names.csv").write_text("name,entity,count\ncrane,Q1,1\nbird,Q2,1\nanimal,Q3,1\nmachine,Q4,1\n")
    (source / "relations.csv").write_text("head,relation,tail\nQ1,subclass of,Q2\nQ2,subclass of,Q3\n")
    build_table(source, source / "kb")
    return KnowledgeBase.open(source / "kb")


def test_labels_below_and_above_the_true_class_are_counted_apart(small_labels, rows, birds, tmp_path):
    mention = {"start": 0, "end": 1, "surface": "x", "detector": "gazetteer"}
    accepted = {"M1": "Q1", "M2": "Q1", "M3": "Q3", "M4": "Q4", "M5": "Q2"}
    labels = small_labels(
        {
            "a": [
                rows.label_row(key, "x", "labelled", [mention], [rows.judgement(entity, 0, 0.9, True, "accepted")])
                for key, entity in accepted.items()
            ]
        }
    )
    truth = {"M1": ["Q1"], "M2": ["Q3"], "M3": ["Q2"], "M4": ["Q1"], "M5": ["Q1", "Q2"]}
    (tmp_path / "truth.json").write_text(dump([mediainfo(key[1:], *entities) for key, entities in truth.items()]))
    found = audit(labels, tmp_path / "truth.json", kb=birds, resamples=50)
    hierarchy = found.hierarchy
    assert (hierarchy.exact, hierarchy.below, hierarchy.above, hierarchy.other) == (2, 1, 1, 1)
    assert found.overall.labels.precision == 2 / 5
    assert (hierarchy.precision_or_below, hierarchy.precision_or_related) == (3 / 5, 4 / 5)
    low, high = hierarchy.interval_or_below
    assert low <= 3 / 5 <= high
    assert found.as_dict()["hierarchy"]["above"] == 1


def test_without_relations_there_is_no_hierarchy(world):
    assert audit(world.labels, world.truth, resamples=5).hierarchy is None
