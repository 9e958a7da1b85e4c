import hashlib
import io
import json
import tarfile
from collections import Counter, defaultdict

import pyarrow.parquet as pq
import pytest
from PIL import Image

from openmofi.engine import LocalEngine
from openmofi.errors import OpenMofiError
from openmofi.knowledge import normalise
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES, TRUTH
from openmofi.storage import read_manifest
from studies.world.pages.alttext import plural
from studies.world.pages.plan import heldout_entities
from studies.world.world import build_world
from studies.world.world_settings import world_settings

pytestmark = pytest.mark.slow


def members(folder):
    files = defaultdict(dict)
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                key, _, extension = member.name.partition(".")
                assert member.mtime == 0
                files[path.stem, key][extension] = archive.extractfile(member).read()
    return files


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def truth(small_world):
    return pq.read_table(small_world / "truth.parquet").to_pylist()


@pytest.fixture(scope="module")
def pages(small_world):
    return members(small_world / "pages")


def test_pages_have_img2dataset_layout(pages):
    for (stem, key), files in pages.items():
        image = set(files) - {"txt", "json"}
        assert len(image) == 1
        assert image <= {"jpg", "png", "webp"}
        assert key.startswith(stem)
        about = json.loads(files["json"])
        assert about["key"] == key
        assert about["caption"] == files["txt"].decode()
        assert about["sha256"] == hashlib.sha256(files[image.pop()]).hexdigest()
        assert "entity" not in about


def test_truth_has_a_row_for_every_pair(small_world, truth, pages):
    assert pq.read_schema(small_world / "truth.parquet").equals(TRUTH)
    retrieval = members(small_world / "retrieval")
    assert Counter((row["shard"], row["key"]) for row in truth) == Counter([*pages, *retrieval])
    assert len({row["key"] for row in truth}) == len(truth)
    assert {row["split"] for row in truth} == {"train", "heldout_pages", "heldout_entities"}


def test_held_out_entities_stay_out_of_pages_and_texts(small_world, small_settings, truth, pages):
    artworks = pq.read_table(small_world / "pictures.parquet").to_pylist()
    held = {row["entity"] for row in artworks if row["split"] == "heldout_entities"}
    assert held
    assert not held & {row["entity"] for row in truth if row["split"] != "heldout_entities"}
    assert held >= {row["entity"] for row in truth if row["split"] == "heldout_entities"}
    names = pq.read_table(small_world / "kb/names.parquet").to_pylist()
    owners = defaultdict(set)
    for row in names:
        owners[normalise(row["name"])].add(row["entity"])
    # Names that only held-out entities have, and long enough not to come about inside other words.
    own = {name for name, ids in owners.items() if ids <= held and len(name) > 4}
    for files in pages.values():
        text = f" {normalise(files['txt'].decode())} "
        assert not [name for name in own if f" {name} " in text]


def test_held_out_pages_are_other_artworks_of_known_entities(small_world):
    artworks = pq.read_table(small_world / "pictures.parquet").to_pylist()
    splits = defaultdict(set)
    for row in artworks:
        splits[row["picture"]].add(row["split"])
    assert all(len(of_artwork) == 1 for of_artwork in splits.values())


def test_only_broken_images_cannot_be_read(truth, pages):
    unknown = {row["key"] for row in truth if row["split"] != "heldout_entities" and not row["entity"]}
    for (_, key), files in pages.items():
        image = next(content for name, content in files.items() if name not in ("txt", "json"))
        if key in unknown:
            with pytest.raises((OSError, SyntaxError, ValueError)):
                Image.open(io.BytesIO(image)).load()
        else:
            opened = Image.open(io.BytesIO(image))
            opened.load()
            about = json.loads(files["json"])
            assert opened.size == (about["width"], about["height"])
            assert max(opened.size) <= 320


def test_named_truth_has_a_name_in_its_text(small_world, truth, pages):
    names = defaultdict(set)
    for row in pq.read_table(small_world / "kb/names.parquet").to_pylist():
        # The normalisation folds most plurals, not all of them ("men", "saris").
        names[row["entity"]] |= {normalise(row["name"]), normalise(plural(row["name"]))}
    named = [row for row in truth if row["named"]]
    assert len(named) > 50
    for row in named:
        text = f" {normalise(pages[row['shard'], row['key']]['txt'].decode())} "
        assert any(f" {name} " in text for name in names[row["entity"]]), (row, text)


def test_knowledge_source_is_whole(small_world):
    folder = small_world / "kb"
    for name, schema in (("entities", ENTITIES), ("names", NAMES), ("relations", RELATIONS), ("surfaces", SURFACES)):
        assert pq.read_schema(folder / f"{name}.parquet").equals(schema)
    ids = set(pq.read_table(folder / "entities.parquet")["id"].to_pylist())
    assert set(pq.read_table(folder / "names.parquet")["entity"].to_pylist()) == ids
    relations = pq.read_table(folder / "relations.parquet")
    assert {*relations["head"].to_pylist(), *relations["tail"].to_pylist()} <= ids
    truth = set(pq.read_table(small_world / "truth.parquet")["entity"].to_pylist()) - {""}
    assert truth <= ids
    assert min(pq.read_table(folder / "names.parquet")["count"].to_pylist()) > 0


def test_same_settings_same_bytes(sources, small_settings, small_world, tmp_path):
    other = tmp_path / "world"
    build_world(sources, other, small_settings, LocalEngine())
    mine, theirs = contents(small_world), contents(other)
    assert mine == theirs


def test_stopped_build_goes_on(sources, small_settings, small_world, tmp_path):
    class Stopping:
        def run(self, factory, tasks, progress):
            factory()(tasks[0])
            raise KeyboardInterrupt

    other = tmp_path / "world"
    with pytest.raises(KeyboardInterrupt):
        build_world(sources, other, small_settings, Stopping())
    assert not read_manifest(other).finished
    first = next(other.rglob("*.tar"))
    stamp = first.stat().st_mtime_ns
    build_world(sources, other, small_settings, LocalEngine())
    assert first.stat().st_mtime_ns == stamp
    assert contents(other) == contents(small_world)


def test_other_settings_are_refused(sources, small_world):
    with pytest.raises(OpenMofiError, match="other settings"):
        build_world(sources, small_world, world_settings(max_entities=25), LocalEngine())


def test_a_fifth_of_each_domain_is_held_out(whole):
    settings = world_settings()
    held = heldout_entities(whole.depicted, settings)
    domains = Counter(entity.domain for entity in whole.depicted)
    for domain, count in domains.items():
        share = sum(entity.id in held for entity in whole.depicted if entity.domain == domain) / count
        assert share == pytest.approx(0.2, abs=0.02), domain
