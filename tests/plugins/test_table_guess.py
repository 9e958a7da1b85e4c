"""How tables with names of their own are read, recognised from what they hold."""

import csv
import json
from pathlib import Path

import pytest

from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import ReadSettings
from openmofi.plugins.table_guess import guessed, recognised_entities
from terminal import in_process

ROWS = 12


def table(path: Path, *, encoding: str = "utf-8", delimiter: str = ",", **columns: str) -> str:
    """A table whose cells are the values of `columns` with the number of the row in place of a `#`."""
    path.parent.mkdir(exist_ok=True, parents=True)
    with open(path, "w", encoding=encoding, newline="") as file:
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerow(columns)
        rows.writerows([cell.replace("#", f"{row:03}") for cell in columns.values()] for row in range(ROWS))
    return str(path)


def images(folder: Path, name: str = "#.jpg") -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for row in range(ROWS):
        (folder / name.replace("#", f"{row:03}")).write_bytes(b"")


def test_a_german_catalogue_with_its_images_in_a_folder_below(tmp_path):
    images(tmp_path / "Scans/Vorderseiten")
    images(tmp_path / "Scans/Vorschau", "klein#.jpg")
    path = table(
        tmp_path / "Katalog.csv",
        encoding="latin-1",
        delimiter=";",
        Inventarnummer="Inv. 19#/2",
        Titel="Stillleben, Nr. #",
        Maße="20 x 30 cm",
        Urheber="Käthe Böhm",
        Beschreibung="Schenkung der Familie Müller",
        Schlagwörter="Gemälde; Öl",
        Bilddatei="#.jpg",
        Link="https://museum.example/#.jpg",
    )
    assert guessed(path, ReadSettings()) == ReadSettings(
        text_column=("Titel", "Schlagwörter"),
        image_column="Bilddatei",
        key_column="Inventarnummer",
        url_column="Link",
        image_root=str(tmp_path / "Scans/Vorderseiten"),
        encoding="cp1252",
    )


def test_what_is_named_is_kept(tmp_path):
    images(tmp_path / "pictures")
    path = table(
        tmp_path / "list.tsv", delimiter="\t", title="Crane #", notes="in the port", front="#.jpg", back="#.png"
    )
    named = ReadSettings(text_column="notes", image_column="back", image_root="elsewhere", encoding="utf-8")
    assert guessed(path, named) == ReadSettings(text_column="notes", image_column="back", image_root=named.image_root)


def test_images_beside_the_table_and_in_a_folder_beside_its_own(tmp_path):
    images(tmp_path / "list")
    path = table(tmp_path / "list/a.csv", titre="une grue", fichier="#.jpg")
    assert guessed(path, ReadSettings()) == ReadSettings(text_column="titre", image_column="fichier", key_column="")
    images(tmp_path / "photos", "p#.webp")
    path = table(tmp_path / "list/b.csv", titre="une grue", fichier="p#.webp")
    assert guessed(path, ReadSettings()).image_root == str(tmp_path / "photos")


def test_paths_that_lead_out_of_a_folder_choose_none(tmp_path):
    images(tmp_path / "secret")
    (tmp_path / "list/below").mkdir(parents=True)
    path = table(tmp_path / "list/a.csv", title="a crane", file="../../secret/#.jpg")
    assert guessed(path, ReadSettings()) == ReadSettings(text_column="title", image_column="file")


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"description": "a crane", "note": "a b c"}, "description"),
        ({"x": "one two three", "y": "ab"}, "x"),
        ({"title": "42", "y": "ab"}, "y"),
        ({"n": "1"}, ()),
    ],
)
def test_texts_where_nothing_is_called_a_title(tmp_path, columns, text):
    path = table(tmp_path / "list/a.csv", file="#.jpg", **columns)  # folders beside its own are looked at
    assert guessed(path, ReadSettings()) == ReadSettings(text_column=text, image_column="file")


def test_json_lines_and_what_is_no_table(tmp_path):
    lines = [json.dumps({"nr": row, "caption": "a sun", "datei": f"{row}.png"}) for row in range(ROWS)]
    table = tmp_path / "collection" / "a.jsonl"  # folders beside its own are looked at
    table.parent.mkdir()
    table.write_text("\n".join(lines))
    assert guessed(str(table), ReadSettings()) == ReadSettings(
        text_column="caption", image_column="datei", key_column="nr"
    )
    assert guessed(str(tmp_path / "a.tar"), ReadSettings(encoding="cp850")) == ReadSettings(encoding="cp850")


def test_a_thesaurus_of_two_languages(tmp_path):
    path = table(
        tmp_path / "Vokabular.csv",
        encoding="latin-1",
        delimiter=";",
        Notation="M#",
        Vorzugsbenennung="Küche #",
        Englisch="kitchen #",
        Oberbegriff="Raum",
        Erläuterung="",
        Anzahl="#",
    )
    options = {
        "id_column": "Notation",
        "name_column": "Englisch",
        "aliases_column": "Vorzugsbenennung",
        "types_column": "Oberbegriff",
        "popularity_column": "Anzahl",
        "description_column": "",
        "encoding": "cp1252",
    }
    assert recognised_entities(Path(path), {}, show=False) == options
    given = {"name_column": "Vorzugsbenennung", "types_column": "Anzahl", "candidates": 3}
    options |= {"name_column": "Vorzugsbenennung", "aliases_column": "Englisch"}
    options |= {"types_column": "Anzahl", "popularity_column": ""}
    assert recognised_entities(Path(path), given, show=False) == options


def test_columns_of_the_usual_names_are_no_options(tmp_path, capsys):
    table(tmp_path / "entities.csv", code="Q#", ID="#", name="thing #", description="a thing", synonyms="it #", no="1")
    settings = recognised_entities(tmp_path, {}, show=True)
    assert {name: column for name, column in settings.items() if column} == {"aliases_column": "synonyms"}
    assert capsys.readouterr().out == f"{tmp_path}/entities.csv is read with: --aliases-column synonyms\n"


def test_a_base_is_built_of_what_was_recognised(tmp_path):
    path = table(tmp_path / "terms.csv", Code="T#", Label="Kranich #", Definition="ein Vogel")
    done = in_process("kb", "build", "table", path, "--guess", "-o", tmp_path / "kb")
    assert done.returncode == 0, done.stderr
    assert "--id-column Code --name-column Label --description-column Definition\n" in done.stdout
    entity = KnowledgeBase.open(tmp_path / "kb").entity(3)
    assert (entity.name, entity.description) == ("Kranich 003", "ein Vogel")
    assert json.loads(in_process("kb", "build", "table", path, "--guess", "--check", "--json").stdout)["problems"] == []
