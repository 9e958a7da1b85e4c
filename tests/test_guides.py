"""Every `sh` block of the tutorial and the guides runs, page by page, in a folder with a newcomer's files.

Blocks of `console` are shown only: they install, need the network, a cluster or a browser. What a page names and a test
cannot have is replaced by something small: see `replaced`.
"""

import json
import re
import shlex
import shutil
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from bad_web import bad_web
from photo_servers import SECRET, Immich, Photo, served, uuid
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.pairs import Record, read_pairs, write_tar
from openmofi.storage import expand_shards, write_table
from small_world import SHAPES, drawn_image, write_kb_source

DOCS = Path(__file__).parents[1] / "docs"
GUIDES = [DOCS / "tutorial.md", *sorted((DOCS / "guides").glob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
# What the pages call things → what the small world calls them.
NAMES = {
    "cranes": "suns",
    "crane": "sun",
    "grey heron": "moon",
    "port crane": "tent",
    "sneakers": "tents",
    "dog": "sun",
    "noun.animal,noun.artifact": "circle,box",
    "noun.animal,noun.plant,noun.food,noun.artifact": "circle,box",
}


def commands(page: Path) -> list[list[str]]:
    """The words of each line of a page's blocks; lines may go on behind a backslash."""
    blocks = "\n".join(BLOCK.findall(page.read_text("utf-8"))).replace("\\\n", " ")
    return [words for line in blocks.split("\n") if (words := shlex.split(line, comments=True))]


def replaced(words: list[str], encoder: str) -> list[str]:
    """The same command with what there is in the small world, whose coloured shapes no other encoder tells apart."""
    others = {word for option, word in pairwise(words) if option == "--encoder"}
    words = [encoder if word in others or word.startswith("open_clip:") else word for word in words]
    words = [NAMES.get(word, word) for word in words]
    words = [*words, "--allow-private"] if words[0] == "fetch" else words
    return ["kb", "build", "table", "entities", *words[3:]] if words[:3] == ["kb", "build", "starter"] else words


@pytest.fixture
def folder(small_world, tmp_path, monkeypatch):
    """Where a newcomer stands: photographs, tables, shards."""
    draw = np.random.default_rng(0)
    shards = expand_shards([str(small_world.shards)])
    pairs = [pair for shard in shards[:3] for pair in read_pairs(shard)]
    write_tar(tmp_path / "pairs-00000.tar", [Record(pair.key, pair.image or b"", pair.text) for pair in pairs])
    for name in ("entities", "taxonomy"):
        write_kb_source(tmp_path / name)
    table = "id,name,description\nt:sun,sun,the sun\nt:tent,tent,a tent\n"
    for name in ("thesaurus.csv", "entities.csv"):
        (tmp_path / name).write_text(table)
    (tmp_path / "photos").mkdir()
    for pair in pairs:
        (tmp_path / "photos" / f"{pair.key}.jpg").write_bytes(pair.image or b"")
    lines = [f"{pair.key}.jpg,{pair.text}" for pair in pairs]
    (tmp_path / "photos/captions.csv").write_text("\n".join(["file_name,caption", *lines]))
    catalogue = [f"{pair.key},photos/{pair.key}.jpg,{pair.text},photograph" for pair in pairs]
    (tmp_path / "catalogue.csv").write_text("\n".join(["inventory_number,photo,title,keywords", *catalogue]))
    write_table(
        tmp_path / "feed.parquet",
        pa.table(
            {
                "sku": [pair.key for pair in pairs],
                "title": [pair.text for pair in pairs],
                "picture": pa.array([pair.image for pair in pairs], pa.binary()),
            }
        ),
    )
    shutil.copytree(small_world.kb, tmp_path / "given-kb")
    for number, entity in enumerate(SHAPES):
        for path in (f"incoming/{number}.jpg", "photo.jpg", "crane.jpg"):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(drawn_image(entity, draw))
    with bad_web() as web:
        web.files |= {pair.key: pair.image or b"" for pair in pairs}
        rows = [f"{web.url}/file/{pair.key},{pair.text}" for pair in pairs]
        (tmp_path / "urls.csv").write_text("\n".join(["url,text", *rows]))
        monkeypatch.chdir(tmp_path)
        yield tmp_path


@pytest.fixture
def photo_server(small_world, monkeypatch):
    """An immich with the images of two shards."""
    pairs = [pair for shard in expand_shards([str(small_world.shards)])[:2] for pair in read_pairs(shard)]
    photos = [Photo(uuid(pair.key), pair.image, {"description": pair.text}) for pair in pairs]
    monkeypatch.setenv("OPENMOFI_ALBUMS_KEY", SECRET)
    with served(Immich({photo.id: photo for photo in photos})) as stub:
        yield stub.name


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_every_command_of_a_guide_does_its_work(page, folder, photo_server, small_encoder):
    steps = [[photo_server if word.startswith("immich:") else word for word in words] for words in commands(page)]
    assert steps
    assert all(words[0] == "openmofi" for words in steps), "a block of sh runs openmofi; others are console"
    if "kb" not in {words[-1] for words in steps if words[1] == "kb"}:  # guides that begin after the base
        shutil.move(folder / "given-kb", folder / "kb")
    for words in steps:
        done = CliRunner().invoke(app, replaced(words[1:], small_encoder), input="y\n", catch_exceptions=False)
        assert done.exit_code == 0, f"{shlex.join(words)}: {done.output}"
        out = words[words.index("-o") + 1] if "-o" in words else ""
        assert done.stdout.strip() or out
        assert not out or (folder / out).exists(), shlex.join(words)


@pytest.mark.slow
def test_photographs_are_found_by_the_encoder_of_the_tutorial(small_world, tmp_path, monkeypatch):
    """The tutorial's index and search, on the photographs that scikit-learn carries."""
    for name in ("flower", "china"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        shutil.copy(str(resources.files("sklearn.datasets.images") / f"{name}.jpg"), tmp_path / "photos")
    shutil.copytree(small_world.kb, tmp_path / "things")
    monkeypatch.chdir(tmp_path)
    build = next(words for words in commands(GUIDES[0]) if words[1:4] == ["index", "build", "photos"])
    assert build[build.index("--encoder") + 1] == "photo"
    for words in (build[1:], ["search", "index", "--text", "a flower", "--json"]):
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert [hit["image"]["key"] for hit in json.loads(done.stdout)["hits"]] == ["flower", "china"]
