"""Tables as people write them: formats, defaults, own names, and every problem named at once."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kb_tables import DEFAULT_NAMES, ENTITY_IDS, write_source

from openmofi.errors import OpenMofiError
from openmofi.knowledge import BuildSettings, KnowledgeBase, TableSettings, build_table, check_table
from openmofi.knowledge.builders.source import COLUMNS, read_source, source_files, source_fingerprints
from openmofi.knowledge.builders.tables import read_columns
from openmofi.storage import write_table

ENTITIES = 'id,name,description,types,popularity\n1,Grey crane,"a bird, ""grey""",bird|animal,2\n2,Elbe,,,\n'


def message(source) -> str:
    with pytest.raises(OpenMofiError) as caught:
        build_table(source, source / "refused")
    assert not (source / "refused").exists()
    return str(caught.value)


def read_table(source, name: str) -> pa.Table:
    return pa.concat_tables(read_source(source).tables[name].blocks())


def built(source) -> KnowledgeBase:
    build_table(source, source / "kb")
    return KnowledgeBase.open(source / "kb")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "entities.csv").write_text(ENTITIES)
    return tmp_path


def test_entities_alone_with_id_and_name_are_enough(tmp_path):
    (tmp_path / "things.csv").write_text("id,name\nQ1,Grey crane\nQ2,Elbe\n")
    build_table(tmp_path / "things.csv", tmp_path / "kb")
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert kb.ids(kb.candidates("grey cranes").rows) == ["Q1"]
    assert kb.link_probability("elbe") == 1.0
    assert (kb.entity(0).description, kb.entity(0).types, kb.entity(0).popularity) == ("", (), 0.0)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_base(tmp_path, suffix):
    rows = {
        "entities": [
            {
                "id": "1",
                "name": "Grey crane",
                "description": 'a bird, "grey"',
                "types": ["bird", "animal"],
                "popularity": 2.0,
                "aliases": ["crane"],
            },
            {"id": "2", "name": "Elbe", "description": "", "types": [], "popularity": 0.0, "aliases": []},
        ],
        "names": [{"name": "gray crane", "entity": "1", "count": 3.0}, {"name": "crane", "entity": "2", "count": 0.5}],
        "relations": [{"head": "1", "relation": "lives at", "tail": "2"}],
        "surfaces": [{"name": "crane", "link_probability": 0.25}],
    }
    built = {}
    for ending in (".parquet", suffix):
        source = tmp_path / f"source{ending}"
        for name, table in rows.items():
            write_rows(source / f"{name}{ending}", table, COLUMNS[name].schema)
        build_table(source, tmp_path / f"kb{ending}")
        kb = KnowledgeBase.open(tmp_path / f"kb{ending}")
        built[ending] = {
            name: digest for name, digest in kb.manifest.counts["digests"].items() if name != "manifest.json"
        }
        assert kb.candidates("crane").priors.tolist() == pytest.approx([1 / 1.5, 0.5 / 1.5])
        assert kb.ids(kb.candidates("crane").rows) == ["1", "2"]
    assert built[suffix] == built[".parquet"]


def write_rows(path, rows, schema):
    if path.suffix == ".parquet":
        write_table(path, pa.Table.from_pylist(rows, schema))
        return
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return
    separator = "," if path.suffix == ".csv" else "\t"
    quoted = [
        '"' + ("|".join(value) if isinstance(value, list) else str(value)).replace('"', '""') + '"'
        for row in rows
        for value in row.values()
    ]
    width = len(rows[0])
    lines = [
        separator.join(rows[0]),
        *(separator.join(quoted[start : start + width]) for start in range(0, len(quoted), width)),
    ]
    path.write_bytes(("\ufeff" + "\r\n".join(lines)).encode())


def test_columns_in_any_order_case_and_with_spaces(tmp_path):
    (tmp_path / "entities.csv").write_text(" Name , ID\n Elbe , 7 \n\n , \nPort, 8\n")
    entities = read_table(tmp_path, "entities")
    assert entities.column("id").to_pylist() == ["7", "8"]
    assert entities.column("name").to_pylist() == ["Elbe", "Port"]


def test_parquet_may_leave_optional_columns_and_values_out(tmp_path):
    write_table(
        tmp_path / "entities.parquet",
        pa.table(
            {
                "name": ["Elbe", "Port"],
                "id": ["1", "2"],
                "types": [["river", None], None],
                "aliases": ["the Elbe|Labe", None],
                "extra": [1, 2],
            }
        ),
    )
    write_table(tmp_path / "names.parquet", pa.table({"name": ["harbour"], "entity": ["2"]}))
    kb = built(tmp_path)
    assert [entity.types for entity in map(kb.entity, (0, 1))] == [("river",), ()]
    assert {name: kb.lookup(name)["candidates"][0]["prior"] for name in kb.names} == dict.fromkeys(
        ("harbour", "elbe", "port", "the elbe", "labe"), 1.0
    )
    assert kb.names_of("1") == ["elbe", "labe", "the elbe"]


def test_own_names_add_nothing_where_the_names_have_them(tmp_path):
    """So the bases of sources that name everything, such as WordNet and the sample world, stay as they were."""
    names = [*DEFAULT_NAMES, *((f"{entity}S".upper(), entity, 2.0) for entity in ENTITY_IDS)]
    assert check_table(write_source(tmp_path, names=names))["counts"]["own_names_and_aliases_added"] == 0


def test_own_names_are_added_once_and_without_letters_not_at_all(tmp_path):
    (tmp_path / "entities.csv").write_text("id,name,aliases\n1,Elbe,elbe|ELBE|Labe\n2,!!,??\n")
    (tmp_path / "names.csv").write_text("name,entity,count\nlabe,1,5\nElbe,2,1\n")
    kb = built(tmp_path)
    assert kb.candidates("elbe").priors.tolist() == [0.5, 0.5]
    assert kb.candidates("labe").priors.tolist() == [1.0]
    assert set(kb.names.keys()) == {"elbe", "labe"}
    assert check_table(tmp_path)["counts"]["own_names_and_aliases_added"] == 1


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("names.csv", "name,entity,count\nx,1,many\n", "names.csv, line 2: 'count' is 'many', which is no number."),
        ("names.csv", "name,entity,count\nx,1,0\n", "names.csv, line 2: 'count' is 0. It must be more than 0."),
        ("names.csv", "name,entity\nx,1\n,1\n", "names.csv, line 3: 'name' is empty."),
        ("names.csv", "name,entity\nx,1,3\n", "names.csv, line 2: has 3 values, and the header has 2 columns."),
        ("names.csv", 'name,entity\n"a\nb",1\nx,9\n', "names.csv, line 4: the entity '9' is not in entities.csv."),
        ("names.csv", "name\nx\n", "names.csv cannot be read: it has no column 'entity', only 'name'."),
        ("names.csv", "name,entity,name\nx,1,y\n", "names.csv, line 1: the column 'name' stands twice."),
        ("names.csv", "name,entity\n", "names.csv has no rows."),
        ("names.csv", "", "names.csv cannot be read: it has no column"),
        ("names.csv", 'name,entity\na,1\n"x,1\nb,1\n', "names.csv, line 3: cannot be read from here on"),
        ("names.csv", 'name,entity\na,1\n"x,1\nb,"1"\n', "names.csv, line 3: cannot be read from here on"),
        ("names.jsonl", '{"name": "x", "entity": 1}\n[1]\n', "names.jsonl, line 2: is not a JSON object."),
        ("names.jsonl", '{"name": {"a": 1}, "entity": 1}\n', 'line 1: {"a": 1} is no text, number or list of texts.'),
        ("names.jsonl", '{"name": "x", "entity": 1}\n{\n', "names.jsonl, line 2: Expecting property name"),
        ("names.jsonl", "[" * 100_000, "names.jsonl, line 1: "),
        ("relations.csv", "head,tail\n1,9\n8,2\n", "relations.csv, line 2: the entity '9' is not in entities.csv."),
        ("surfaces.tsv", "name\tlink_probability\nx\t2\n", "surfaces.tsv, line 2: 'link_probability' is 2."),
        ("surfaces.tsv", "name\tlink_probability\nx\t\n", "surfaces.tsv, line 2: 'link_probability' is empty."),
        ("entities.tsv", "id\tname\n1\tx\n", "has both entities.csv and entities.tsv."),
    ],
)
def test_a_problem_names_its_file_and_line(folder, file, content, says):
    (folder / file).write_text(content)
    assert says in message(folder)


def test_a_file_that_cannot_be_decoded_names_the_line(folder):
    (folder / "names.csv").write_bytes("name,entity\nElbe,1\nMüll,2\n".encode("cp850"))
    assert message(folder).startswith("names.csv, line 3: cannot be read as cp1252. Name the encoding")
    build_table(folder, folder / "kb", BuildSettings(tables=TableSettings(encoding="cp850")))
    kb = KnowledgeBase.open(folder / "kb")
    assert kb.ids(kb.candidates("Müll").rows) == ["2"]


@pytest.mark.parametrize(
    ("suffix", "encoding", "delimiter"), [(".csv", "cp1252", ";"), (".csv", "utf-16", "\t"), (".tsv", "utf-8", ";")]
)
def test_a_thesaurus_as_a_spreadsheet_saves_it(tmp_path, caplog, suffix, encoding, delimiter):
    text = "Notation;Vorzugsbenennung;Erläuterung;name\r\nP1;Balsamgewächs;eine Pflanze;x\r\nP2;Büste;ein Kopf;y\r\n"
    source = tmp_path / f"thesaurus{suffix}"
    source.write_bytes(text.replace(";", delimiter).encode(encoding))
    named = {"id_column": "Notation", "name_column": "vorzugsbenennung", "description_column": "Erläuterung"}
    settings = TableSettings(**named)
    assert check_table(source, settings)["ignored"] == [f"{source.name}: the column 'name' is ignored."]
    build_table(source, tmp_path / "kb", BuildSettings(tables=settings))
    assert [
        (each.id, each.name, each.description) for each in map(KnowledgeBase.open(tmp_path / "kb").entity, (0, 1))
    ] == [
        ("P1", "Balsamgewächs", "eine Pflanze"),
        ("P2", "Büste", "ein Kopf"),
    ]
    assert ("read as Windows-1252" in caplog.text) == (encoding == "cp1252")
    (problem,) = check_table(source, TableSettings(**named, types_column="Art"))["problems"]
    assert "it has no column 'Art', only 'Notation', 'Vorzugsbenennung'" in problem
    assert "--id-column" in check_table(source)["problems"][0]


def test_columns_of_a_parquet_table_are_named(tmp_path):
    write_table(
        tmp_path / "t.parquet", pa.table({"Notation": ["P1"], "Label": ["Büste"], "aliases": [["Kopf", "Haupt"]]})
    )
    build_table(tmp_path / "t.parquet", tmp_path / "kb", BuildSettings(tables=TableSettings("Notation", "Label")))
    kb = KnowledgeBase.open(tmp_path / "kb")
    assert kb.ids(kb.candidates("Haupt").rows) == ["P1"]


def test_all_problems_are_named_at_once(folder):
    (folder / "entities.csv").write_text(f"{ENTITIES}2,,x,,-1\n3,Port,x,,much\n")
    (folder / "names.csv").write_text("name,entity,count\nx,9,1\ny,8,-1\n,1,1\nz,7,0\n")
    (folder / "relations.csv").write_text("tail,head\n1,1,1\n1,5\n")
    (folder / "surfaces.csv").write_text("name,probability\nx,1\n")
    lines = message(folder).splitlines()
    assert lines[0] == f"{folder} has 10 problems:"
    assert [line.strip().rpartition(". ")[0] for line in lines[1:]] == [
        "entities.csv, line 5: 'popularity' is 'much', which is no number",
        "entities.csv, line 4: 'name' is empty",
        "entities.csv, line 4: the id '2' is already in line 3",
        "entities.csv, line 4: 'popularity' is -1",
        "names.csv, line 4: 'name' is empty",
        "names.csv, line 3: 'count' is -1 (1 more: line 5)",
        "names.csv, line 2: the entity '9' is not in entities.csv (2 more: line 3, line 5)",
        "relations.csv, line 2: has 3 values, and the header has 2 columns",
        "relations.csv, line 3: the entity '5' is not in entities.csv",
        "surfaces.csv cannot be read: it has no column 'link_probability', only 'name', 'probability'",
    ]


def test_unreadable_entities_do_not_make_every_name_a_problem(folder):
    (folder / "entities.csv").write_text('id,name\n1,"Elbe\n2,Port\n')
    (folder / "names.csv").write_text("name,entity\nx,2\n")
    assert message(folder).startswith("entities.csv, line 2: cannot be read from here on")


def test_what_cannot_be_read_claims_no_folder(folder):
    (folder / "names.csv").write_text("name,entity\nx,9\n")
    with pytest.raises(OpenMofiError):
        build_table(folder, folder / "kb")
    assert not (folder / "kb" / "manifest.json").exists()
    (folder / "names.csv").write_text("name,entity\nx,1\n")
    assert build_table(folder, folder / "kb").finished


def test_what_is_ignored_is_a_warning(folder, caplog):
    (folder / "entities.csv").write_text("id,name,desciption\n1,Elbe,a river\n")
    build_table(folder, folder / "kb")
    assert [record.message for record in caplog.records] == [
        "entities.csv: the column 'desciption' is ignored. Did you mean 'description'?"
    ]


def test_a_change_in_the_middle_of_a_large_text_is_another_source(folder):
    rows = "".join(f"{row},n,{'x' * 50}\n" for row in range(60_000))
    prints = []
    for middle in ("a", "b"):
        (folder / "entities.csv").write_text(f"id,name,description\n{rows}m,n,{middle}\n{rows}")
        prints.append(source_fingerprints(source_files(folder)[1]))
    assert prints[0] != prints[1]


TEXTS = st.lists(
    st.sampled_from(
        ["id,name", "id\tname", "1", ",", "\t", '"', "\n", "x", '{"id": 1, "name": "x"}', "[", "é"],
    ),
    max_size=30,
).map(lambda parts: "".join(parts).encode())


@given(st.one_of(st.binary(max_size=200), TEXTS), st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]))
def test_any_bytes_are_a_table_or_a_problem(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"entities{suffix}"
    path.write_bytes(content)
    read = read_columns(path, COLUMNS["entities"])
    assert read.problems or read.given
    assert all(block.schema == COLUMNS["entities"].schema for block in read.blocks())
