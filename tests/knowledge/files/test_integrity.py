"""A knowledge base whose files changed without changing their size is refused, or gives what it gave before."""

import os
import pickle
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from kb_tables import ENTITY_IDS, resealed, write_source

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, arrays, build_table, layout, verify
from openmofi.knowledge.layout import FILES as ALWAYS
from openmofi.knowledge.relations import FILES as RELATIONS
from openmofi.schema import ENTITIES
from openmofi.storage import write_arrow
from terminal import in_process, sentence

from ...storage.mounts import read_only, small_disk

FILES = (*ALWAYS, "ids.marisa", *RELATIONS)
MAPPED_SAFELY = [name for name in FILES if not name.endswith(".marisa")]
"""What a base with digests of its own can be checked for: a damaged trie has no ranges to check."""


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    build_table(write_source(folder / "source", surfaces=[("hot", 0.25)]), folder / "kb")
    return folder / "kb"


@pytest.fixture
def folder(built, tmp_path):
    """A base to damage."""
    return shutil.copytree(built, tmp_path / "kb")


def answers(folder: Path) -> tuple:
    kb = KnowledgeBase.open(folder)
    names = ("crane", "hot dog", "stork", "steel", "unheard of")
    return (
        [
            (kb.ids(kb.candidates(name).rows), kb.candidates(name).priors.tolist(), kb.link_probability(name))
            for name in names
        ],
        [kb.entity(row) for row in range(len(kb))],
        kb.rows(ENTITY_IDS).tolist(),
        kb.vectors(range(len(kb))).tolist(),
        [(kb.relations(entity), kb.ancestors(entity), kb.subtypes(entity)) for entity in ENTITY_IDS],
    )


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Other content of the same length: a flipped bit, an overwritten byte, a zeroed or swapped stretch."""
    changed = bytearray(content)
    start = draw.randrange(len(content))
    end = min(start + draw.choice((8, 64, 4096)), len(content))
    kind = draw.randrange(4)
    if kind == 0:
        changed[start] ^= 1 << draw.randrange(8)
    elif kind == 1:
        changed[start] = draw.randrange(256)
    elif kind == 2:
        changed[start:end] = bytes(end - start)
    else:
        changed[start:end] = bytes(reversed(changed[start:end]))
    return bytes(changed) if changed != content else damaged(content, draw)


@pytest.mark.parametrize("name", FILES)
def test_every_damage_of_the_same_size_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    draw = random.Random(name)
    for _ in range(10):
        (folder / name).write_bytes(damaged(whole, draw))
        with pytest.raises(OpenMofiError, match=f"{Path(name).name} is not what was built.*damaged"):
            KnowledgeBase.open(folder)
    (folder / name).write_bytes(whole)
    KnowledgeBase.open(folder)


def test_a_damaged_manifest_is_refused_or_changes_nothing(folder):
    path = folder / "manifest.json"
    whole, before = path.read_bytes(), answers(folder)
    fingerprint = KnowledgeBase.open(folder).fingerprint
    draw = random.Random(0)
    refused = 0
    for _ in range(60):
        path.write_bytes(damaged(whole, draw))
        try:
            assert answers(folder) == before
            assert KnowledgeBase.open(folder).fingerprint == fingerprint
        except OpenMofiError:
            refused += 1
    assert refused > 40


def test_the_command_says_so_in_one_sentence(folder):
    content = (folder / "names.marisa").read_bytes()
    (folder / "names.marisa").write_bytes(bytes(len(content) // 2) + content[len(content) // 2 :])
    assert "names.marisa is not what was built" in sentence(in_process("kb", "lookup", folder, "crane"))


@pytest.mark.parametrize("name", MAPPED_SAFELY)
def test_a_base_with_digests_of_its_own_is_refused_or_gives_rows_in_range(folder, name):
    before = answers(folder)
    whole = (folder / name).read_bytes()
    draw = random.Random(name)
    refused = 0
    for _ in range(15):
        (folder / name).write_bytes(damaged(whole, draw))
        try:
            after = answers(resealed(folder))
        except OpenMofiError:
            refused += 1
            continue
        assert [len(part) for part in after] == [len(part) for part in before]
        assert all(0 <= probability <= 1.001 for _, priors, link in after[0] for probability in (*priors, link))
    assert refused > 1


def set_value(path: Path, index: int, value: float) -> None:
    array = np.load(path)
    array[index] = value
    np.save(path, array)


@pytest.mark.parametrize(
    ("name", "index", "value", "says"),
    [
        ("candidates/rows.npy", 0, len(ENTITY_IDS), "beyond 0 to 6"),
        ("candidates/rows.npy", 0, -1, "beyond 0 to 6"),
        ("id_rows.npy", 2, 1 << 20, "beyond 0 to 6"),
        ("candidates/commonness.npy", 1, np.nan, "beyond 0 to"),
        ("candidates/link_probability.npy", 1, 1.5, "beyond 0 to"),
        ("vectors.npy", 3, np.inf, "beyond -1.001 to"),
        ("candidates/offsets.npy", 1, 5, "does not fit"),
        ("candidates/offsets.npy", 0, 1, "does not fit"),
        ("candidates/offsets.npy", 1, 1 << 40, "beyond 0 to"),
        ("candidates/offsets.npy", 1, -3, "beyond 0 to"),
        ("relations/tails.npy", 0, len(ENTITY_IDS), "beyond 0 to 6"),
        ("relations/kinds.npy", 0, 2, "beyond 0 to 1"),
        ("relations/below.npy", 0, -1, "beyond 0 to 6"),
        ("relations/offsets.npy", 1, 4, "does not fit"),
        ("relations/below_offsets.npy", 1, 3, "does not fit"),
    ],
)
def test_values_out_of_range_are_refused(folder, name, index, value, says):
    set_value(folder / name, index, value)
    with pytest.raises(OpenMofiError, match=f"{Path(name).name} .*{says}"):
        KnowledgeBase.open(resealed(folder))


def test_an_array_of_another_type_or_shape_is_refused(folder):
    assert "should hold int32 of shape" in arrays.outside(np.zeros(3, np.int64), np.int32, (3,), 0, 1)
    assert "should hold int32 of shape" in arrays.outside(np.zeros((3, 1), np.int32), np.int32, (3,), 0, 1)
    assert arrays.outside(np.ones((3, 2), np.int32), np.int32, (3, 2), 0, 1) == ""


def test_an_empty_value_of_an_entity_is_refused(folder):
    rows = [
        {"id": entity, "name": None if entity == "tool" else "x", "description": "", "types": [], "popularity": 0.0}
        for entity in ENTITY_IDS
    ]
    write_arrow(folder / "entities.arrow", pa.Table.from_pylist(rows, ENTITIES))
    with pytest.raises(OpenMofiError, match="has an empty 'name'"):
        KnowledgeBase.open(resealed(folder))


@pytest.fixture
def digested(monkeypatch):
    """Names of the files whose content was read, in order."""
    read = []
    digest = layout.file_digest
    monkeypatch.setattr(layout, "file_digest", lambda path, *more: read.append(path.name) or digest(path, *more))
    return read


def test_content_is_read_once_and_again_after_a_change(folder, digested):
    kb = KnowledgeBase.open(folder)
    assert len(digested) == len(FILES)
    KnowledgeBase.open(folder)
    pickle.loads(pickle.dumps(kb))
    assert len(digested) == len(FILES)
    (folder / "vectors.npy").write_bytes((folder / "vectors.npy").read_bytes())
    KnowledgeBase.open(folder)
    assert len(digested) == 2 * len(FILES)


def test_another_process_does_not_read_it_again(folder):
    KnowledgeBase.open(folder)
    code = (
        "import sys; from openmofi.knowledge import KnowledgeBase\nfrom openmofi.knowledge import layout\n"
        "def refuse(*_): raise AssertionError('read again')\n"
        "layout.file_digest = refuse; print(len(KnowledgeBase.open(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{len(ENTITY_IDS)}\n"


def test_a_worker_without_a_cache_goes_by_what_the_pickle_knows(folder, tmp_path, monkeypatch, digested):
    pickled = pickle.dumps(KnowledgeBase.open(folder))
    monkeypatch.setenv("OPENMOFI_HOME", str(folder / "manifest.json"))
    del digested[:]
    assert len(pickle.loads(pickled)) == len(ENTITY_IDS)
    assert digested == []
    KnowledgeBase.open(folder)
    assert len(digested) == len(FILES)


def test_a_base_on_a_read_only_disk_opens(folder, digested):
    with read_only(folder):
        KnowledgeBase.open(folder)
        KnowledgeBase.open(folder)
    assert len(digested) == len(FILES)


def test_verify_finds_what_an_earlier_check_passed(folder, monkeypatch):
    """Bits that rot leave the file's times as they were."""
    monkeypatch.setattr("openmofi.knowledge.store.file_stamp", lambda *_: "as before")
    KnowledgeBase.open(folder)
    path = folder / "vectors.npy"
    before = path.stat()
    with open(path, "r+b") as handle:
        handle.seek(-1, os.SEEK_END)
        handle.write(b"\x7f")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    KnowledgeBase.open(folder)
    assert [name for name, problem in verify(folder).items() if problem] == ["vectors.npy"]
    with pytest.raises(OpenMofiError, match=r"vectors\.npy is not what was built"):
        KnowledgeBase.open(folder)


def test_every_damaged_file_is_named(folder):
    for name in ("vectors.npy", "ids.marisa"):
        (folder / name).write_bytes(bytes((folder / name).stat().st_size))
    with pytest.raises(OpenMofiError, match=r"ids\.marisa is not what was built.*; damaged too: vectors\.npy\."):
        KnowledgeBase.open(folder)


class Recorded(Quiet):
    def __init__(self):
        self.calls = []

    def begin(self, stage, total):
        self.calls.append((stage, total))

    def advance(self, counts):
        self.calls.append("advance")


def test_a_check_shows_its_progress_where_it_takes_long(folder, monkeypatch):
    quick = Recorded()
    KnowledgeBase.open(folder, progress=quick)
    assert quick.calls == []
    monkeypatch.setattr(layout, "_SHOWN_AFTER", 0.0)
    long = Recorded()
    verify(folder, long)
    assert long.calls == [("check kb", len(FILES)), *["advance"] * len(FILES)]


def test_a_disk_that_is_full_is_one_sentence_wherever_the_build_is(tmp_path):
    source = write_source(tmp_path / "source")
    files = set()
    with small_disk(tmp_path / "disk", "1m") as disk:
        for free in range(4, 400, 4):
            subprocess.run(["mount", "-o", f"remount,size={free}k", str(disk)], check=True)
            try:
                build_table(source, disk / "kb")
                break
            except OpenMofiError as error:
                files.update(
                    re.findall(r"^The disk is full: .*disk/kb/(.*) could not be written", error.message)
                    or [error.message]
                )
            with pytest.raises(OpenMofiError):
                KnowledgeBase.open(disk / "kb")
            subprocess.run(["rm", "-rf", str(disk / "kb")], check=True)
        assert KnowledgeBase.open(disk / "kb").manifest.finished
    assert {"names.marisa", "ids.marisa", "vectors.npy", ".build/names", ".build/lists.parquet"} <= files
    assert not [name for name in files if " " in name]


def test_a_folder_that_cannot_be_mapped_is_refused_before_anything_is_written(tmp_path):
    source = write_source(tmp_path / "source")
    odd = tmp_path / os.fsdecode(b"kb-\xff")
    with pytest.raises(UsageError, match="cannot be written: the name is not UTF-8"):
        build_table(source, odd)
    assert not odd.exists()
    with pytest.raises(OpenMofiError, match="its name is not UTF-8"):
        KnowledgeBase.open(odd)
    for use in (KnowledgeBase.open, verify):
        with pytest.raises(OpenMofiError, match=r"^memory://kb is missing: nothing is stored there"):
            use("memory://kb")
    with pytest.raises(UsageError, match="memory://kb cannot be written: outputs are local"):
        build_table(source, "memory://kb")
