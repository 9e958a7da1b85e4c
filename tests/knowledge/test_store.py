import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from kb_tables import ENTITY_IDS, resealed, write_source

from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, build_table


@pytest.fixture
def folder(tmp_path):
    build_table(write_source(tmp_path / "source", surfaces=[("hot", 0.25)]), tmp_path / "kb")
    return tmp_path / "kb"


def test_entities_ids_and_rows_are_one_numbering(folder):
    kb = KnowledgeBase.open(folder)
    assert len(kb) == len(ENTITY_IDS)
    assert kb.ids(range(len(kb))) == list(ENTITY_IDS)
    assert [kb.row(entity_id) for entity_id in ENTITY_IDS] == list(range(len(kb)))
    assert kb.rows(["stork", "nobody", "bird"]).tolist() == [2, -1, 0]
    stork = kb.entity(2)
    assert (stork.id, stork.name, stork.description, stork.types) == ("stork", "Stork", "the stork", ("thing",))
    with pytest.raises(KeyError):
        kb.row("nobody")
    for row in (-1, len(kb)):
        with pytest.raises(IndexError):
            kb.entity(row)


def test_candidates_are_commonest_first_and_limited(folder):
    kb = KnowledgeBase.open(folder)
    found = kb.candidates("CRANES")
    assert (found.rows.dtype, found.priors.dtype) == (np.int32, np.float32)
    assert kb.ids(found.rows) == ["bird", "machine"]
    assert found.priors.tolist() == [0.75, 0.25]
    assert kb.ids(kb.candidates("crane", limit=1).rows) == ["bird"]
    assert len(kb.candidates("unheard of")) == 0


def test_link_probabilities(folder):
    kb = KnowledgeBase.open(folder)
    assert [kb.link_probability(name) for name in ("hot", "Hot dogs", "unheard of")] == [0.25, 1.0, 0.0]


def test_its_pickle_refuses_a_folder_that_was_built_again_of_other_tables(folder, tmp_path):
    pickled = pickle.dumps(KnowledgeBase.open(folder))
    shutil.rmtree(folder)
    build_table(write_source(tmp_path / "other", ids=[*ENTITY_IDS, "more"]), folder)
    with pytest.raises(OpenMofiError, match="has changed since it was opened"):
        pickle.loads(pickled)


def test_it_pickles_as_its_path_and_fingerprint(folder):
    kb = KnowledgeBase.open(folder)
    pickled = pickle.dumps(kb)
    assert len(pickled) < 1000
    assert pickle.loads(pickled).fingerprint == kb.fingerprint


def test_another_process_opens_it_and_sees_the_same(folder):
    code = (
        "import sys; from openmofi.knowledge import KnowledgeBase; kb = KnowledgeBase.open(sys.argv[1]); "
        "print(kb.fingerprint, kb.ids(kb.candidates('crane').rows))"
    )
    found = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"{KnowledgeBase.open(folder).fingerprint} ['bird', 'machine']"


def test_another_schema_version_is_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 99}))
    with pytest.raises(OpenMofiError, match="schema version 99"):
        KnowledgeBase.open(folder)


def test_an_unfinished_build_is_refused_and_goes_on(folder, tmp_path):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "finished": False, "counts": {}}))
    with pytest.raises(OpenMofiError, match="not finished"):
        KnowledgeBase.open(folder)
    build_table(tmp_path / "source", folder)
    assert json.loads((folder / "manifest.json").read_text()) == manifest


FILES = [
    "entities.arrow",
    "ids.marisa",
    "id_rows.npy",
    "names.marisa",
    "candidates/offsets.npy",
    "candidates/rows.npy",
    "candidates/commonness.npy",
    "candidates/link_probability.npy",
    "vectors.npy",
    *(
        f"relations/{name}"
        for name in ("offsets.npy", "tails.npy", "kinds.npy", "names.arrow", "below_offsets.npy", "below.npy")
    ),
]


def test_the_manifest_lists_every_file(folder):
    assert sorted(KnowledgeBase.open(folder).manifest.counts["files"]) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_missing_or_overwritten_file_is_one_sentence(folder, name):
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OpenMofiError, match="damaged"):
        KnowledgeBase.open(folder)
    path.write_bytes(bytes(len(whole)))
    with pytest.raises(OpenMofiError, match="damaged"):
        KnowledgeBase.open(folder)
    path.unlink()
    with pytest.raises(OpenMofiError, match="is missing"):
        KnowledgeBase.open(folder)


def test_a_pickled_array_is_not_loaded(folder):
    path = folder / "id_rows.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(OpenMofiError, match="is damaged: Array can't be memory-mapped: Python objects"):
        KnowledgeBase.open(resealed(folder))


def test_files_of_two_knowledge_bases_do_not_mix(folder, tmp_path):
    build_table(write_source(tmp_path / "other", ids=[*ENTITY_IDS, "more"]), tmp_path / "kb2")
    (folder / "vectors.npy").write_bytes((tmp_path / "kb2" / "vectors.npy").read_bytes())
    with pytest.raises(OpenMofiError, match="do not fit together"):
        KnowledgeBase.open(resealed(folder))


def test_look_up_gives_plain_data(folder):
    found = KnowledgeBase.open(folder).lookup("Cranes")
    assert json.loads(json.dumps(found)) == found
    assert [row["id"] for row in found["candidates"]] == ["bird", "machine"]
    assert KnowledgeBase.open(folder).lookup("unheard of")["candidates"] == []
