import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import openmofi
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.plugins.bases import diff as diffing
from openmofi.plugins.bases.diff import diff_kb
from openmofi.storage import write_arrow

OLD = """id,name,description,popularity
Q1,Grey crane,a bird,5
Q2,Tower crane,a machine,9
Q3,White stork,a bird,1
Q4,Elbe,a river,2
Q5,Old,gone,3
Q6,Double,the same as Q4,1
"""
NEW = """id,name,description,popularity
Q9,Fresh,new,1
Q2,Crane,a lifting machine,9
Q8,Fresher,new,7
Q4,Elbe,a river,2
Q3,Stork,a bird,1
Q1,Grey crane,a wading bird,5
"""


def built(folder, text):
    folder.mkdir()
    (folder / "entities.csv").write_text(text)
    build_table(folder, folder / "kb")
    return folder / "kb"


@pytest.fixture
def bases(tmp_path):
    return built(tmp_path / "old", OLD), built(tmp_path / "new", NEW)


def ids(differences, kind):
    return [row["id"] for row in differences.first(kind, 100)]


def test_every_kind_of_change_the_most_popular_first(bases, monkeypatch):
    monkeypatch.setattr(diffing, "_BLOCK", 2)
    differences = diff_kb(*bases)
    assert {kind: ids(differences, kind) for kind in diffing.KINDS} == {
        "added": ["Q8", "Q9"],
        "removed": ["Q5", "Q6"],
        "merged": [],
        "renamed": ["Q2", "Q3"],
        "described": ["Q2", "Q1"],
    }
    assert differences.unchanged == 1
    assert differences.first("renamed", 1) == [
        {"change": "renamed", "id": "Q2", "name": "Crane", "before": "Tower crane", "after": "Crane"}
    ]
    assert differences.first("described")[1] == {
        "change": "described",
        "id": "Q1",
        "name": "Grey crane",
        "before": "a bird",
        "after": "a wading bird",
    }
    assert differences.first("removed", 1) == [
        {"change": "removed", "id": "Q5", "name": "Old", "before": None, "after": None}
    ]


def test_nothing_changes_between_a_base_and_itself(bases):
    differences = diff_kb(bases[0], KnowledgeBase.open(bases[0]))
    assert set(differences.counts.values()) == {0}
    assert differences.unchanged == 6
    assert differences.changes.schema == diffing.CHANGES


def test_both_directions_mirror_each_other(bases):
    there, back = diff_kb(*bases).counts, diff_kb(*reversed(bases)).counts
    assert there == back | {"added": back["removed"], "removed": back["added"]}


def test_merged_is_what_redirects_lead_to_an_entity(bases):
    def redirect(*rows):
        write_arrow(
            bases[1] / "redirects.arrow",
            pa.table([list(column) for column in zip(*sorted(rows), strict=True)], schema=diffing.REDIRECTS),
        )
        return diff_kb(*bases)

    merged = redirect(("Q6", "Q7"), ("Q7", "Q4"), ("Q5", "Q55"), ("Q99", "Q1"))
    assert ids(merged, "removed") == ["Q5"]
    assert merged.first("merged") == [{"change": "merged", "id": "Q6", "name": "Double", "before": None, "after": "Q4"}]
    assert ids(redirect(("Q6", "Q5"), ("Q5", "Q6")), "removed") == ["Q5", "Q6"]  # a circle
    assert [row["after"] for row in redirect(("Q5", "Q9"), ("Q6", "Q8")).first("merged")] == ["Q9", "Q8"]
    (bases[1] / "redirects.arrow").write_bytes(b"damaged")
    with pytest.raises(OpenMofiError, match=r"is damaged: "):
        diff_kb(*bases)


def test_the_command_prints_counts_and_the_first_and_writes_all(bases, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, ["kb", "diff", *map(str, arguments)])

    shown = run(*bases, "-o", tmp_path / "changes.parquet")
    assert shown.exit_code == 0
    assert all(part in shown.stdout for part in ("unchanged", "Fresher", "a wading bird", "Tower crane"))
    assert pq.read_table(tmp_path / "changes.parquet").to_pylist() == diff_kb(*bases).changes.to_pylist()
    plain = json.loads(run(*bases, "--json").stdout)
    assert plain["counts"] == {"added": 2, "removed": 2, "merged": 0, "renamed": 2, "described": 2}
    assert plain["old"] == KnowledgeBase.open(bases[0]).fingerprint
    assert plain["first"]["added"][0]["id"] == "Q8"


def test_what_cannot_be_compared_or_written_is_a_sentence(bases, tmp_path):
    with pytest.raises(UsageError, match=r"Give a file that ends in \.parquet"):
        openmofi.diff_kb("nowhere", "nowhere", out=tmp_path / "changes.csv")
    with pytest.raises(OpenMofiError, match="is not a knowledge base"):
        openmofi.diff_kb(bases[0], tmp_path)
