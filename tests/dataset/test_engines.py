"""The two passes over labels as tasks: what is collected, beside plain dictionaries; the same bytes on every engine."""

import errno
import importlib
import json
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.dataset import DatasetSettings, build_dataset, collect
from openmofi.dataset.passes import Passes
from openmofi.dataset.tables import Folder
from openmofi.engine import LocalEngine, Quiet, engine_named
from openmofi.engine.steps import Running
from openmofi.errors import OpenMofiError
from openmofi.schema import LabelStatus

SETTINGS = DatasetSettings(3, 9)
MERGED = {"e0": "e1", "e4": "e2"}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


JUDGED = st.tuples(
    st.sampled_from([f"e{number}" for number in range(6)]),
    st.integers(0, 2),
    st.sampled_from([0.25, 0.5, 0.75]),
    st.booleans(),
)
ROW = st.tuples(
    st.sampled_from(["labelled", "rejected", "no_mention", "image_broken"]),
    st.lists(JUDGED, max_size=5),
    st.sampled_from([0, 1, 3**30, 5**20]),
)
TABLES = st.lists(st.lists(ROW, max_size=6), min_size=1, max_size=4)


def table_of(rows, makers):
    """A label table; each row has three mentions."""
    mentions = [
        {"start": 2 * number, "end": 2 * number + 1, "surface": surface, "detector": "gazetteer", "reason": ""}
        for number, surface in enumerate("aba")
    ]
    return [
        makers.label_row(
            f"k{number}",
            f"a b a {number % 2}",
            status,
            mentions,
            [
                makers.judgement(entity, mention, probability, accepted, "accepted" if accepted else "below_threshold")
                for entity, mention, probability, accepted in judged
            ],
            phash,
        )
        for number, (status, judged, phash) in enumerate(rows)
    ]


def plain(tables, merged):
    """Identifiers in order of appearance; of each labelled image its shard, row and best probabilities; surfaces."""
    order, images, surfaces = {}, [], Counter()
    for shard, rows in enumerate(tables):
        for position, (status, judged, _) in enumerate(rows):
            best = {}
            for entity, mention, probability, accepted in judged:
                if accepted and status == "labelled":
                    entity = merged.get(entity, entity)
                    order.setdefault(entity)
                    best[entity] = max(best.get(entity, 0), probability)
                    surfaces[entity, "aba"[mention]] += 1
            if best:
                images.append((shard, position, best))
    return list(order), images, surfaces


@settings(max_examples=60)
@given(tables=TABLES, with_kb=st.booleans())
def test_what_is_collected_is_that_of_plain_dictionaries(tables, with_kb, makers):
    kb = SimpleNamespace(current=lambda ids: pa.array([MERGED.get(id, id) for id in ids.to_pylist()], pa.string()))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        makers.finish_labels(
            root / "labels", {f"s{number}": table_of(rows, makers) for number, rows in enumerate(tables)}
        )
        (root / "scratch").mkdir()
        source = Folder.open(root / "labels", "labels")
        passes = Passes(source.for_workers, kb if with_kb else None, str(root / "parts"), "")
        found = collect.collect(source, passes, root / "scratch", Running(LocalEngine(), Quiet()))
        order, images, surfaces = plain(tables, MERGED if with_kb else {})
        assert found.entities == order
        assert [
            (shard, int(found.row[image]))
            for shard, (low, high) in enumerate(zip(found.starts[:-1], found.starts[1:], strict=True))
            for image in range(low, high)
        ] == [(shard, row) for shard, row, _ in images]
        assert Counter(
            (int(image), order[code], float(probability))
            for image, code, probability in zip(
                found.labels.image, found.labels.entity, found.labels.probability, strict=True
            )
        ) == Counter((number, *label) for number, (*_, best) in enumerate(images) for label in best.items())
        assert found.labels.image.tolist() == sorted(found.labels.image.tolist())
        assert found.labels.phash.tolist() == [tables[shard][row][2] for shard, row, _ in images]
        assert found.surfaces == (Counter() if with_kb else surfaces)
        counts, rows = found.counts, [row for rows in tables for row in rows]
        assert counts.rows == len(rows)
        assert counts.statuses == Counter(status for status, *_ in rows)
        assert sum(counts.reasons.values()) == sum(len(judged) for _, judged, _ in rows)
        usable = [row for row in rows if row[0] in set(LabelStatus)]
        assert (counts.usable, counts.linked) == (len(usable), sum(bool(judged) for _, judged, _ in usable))


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "dataset"
    build_dataset(world.labels, out, SETTINGS)
    return contents(out)


def test_two_processes_give_the_same_bytes(world, whole, tmp_path, forked_workers, monkeypatch):
    monkeypatch.setattr("openmofi.engine.engines.ProcessEngine.few", 0)
    build_dataset(world.labels, tmp_path / "d", SETTINGS, engine=engine_named("processes:2"))
    assert contents(tmp_path / "d") == whole


def test_few_rows_are_done_in_this_process_and_that_is_said(world, tmp_path):
    messages = []

    class Said(Quiet):
        def say(self, message):
            messages.append(message)

    build_dataset(world.labels, tmp_path / "d", SETTINGS, engine=engine_named("processes:2"), progress=Said())
    assert messages == ["240 pairs are done in this process: other processes pay from 500,000 on."]


class Stops(Quiet):
    """Ends the job after so many tasks."""

    def __init__(self, tasks):
        self.left = tasks

    def advance(self, counts):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("tasks", range(1, 7))
def test_stopped_in_either_pass_it_goes_on_with_what_is_missing(world, whole, tmp_path, tasks):
    out = tmp_path / "d"
    with pytest.raises(KeyboardInterrupt):
        build_dataset(world.labels, out, SETTINGS, progress=Stops(tasks))
    assert len(list(out.glob("collected/*/*.parquet"))) == min(tasks, 3)
    assert len(list(out.glob("images/*.parquet"))) == max(tasks - 3, 0)
    done = {path: path.stat().st_mtime_ns for path in out.glob("*/**/*.parquet")}

    class Watches(Quiet):
        tasks = 0

        def advance(self, counts):
            Watches.tasks += 1
            assert all(path.stat().st_mtime_ns == time for path, time in done.items() if path.exists())

    build_dataset(world.labels, out, SETTINGS, progress=Watches())
    assert Watches.tasks == 6 - tasks
    assert contents(out) == whole


def test_tables_of_the_first_pass_that_were_cut_off_or_made_with_another_base_are_not_used(
    world, whole, lookup, tmp_path
):
    out = tmp_path / "d"
    with pytest.raises(KeyboardInterrupt):
        build_dataset(world.labels, out, SETTINGS, kb=lookup, progress=Stops(3))
    (other,) = out.glob("collected/*")
    with pytest.raises(KeyboardInterrupt):
        build_dataset(world.labels, out, SETTINGS, progress=Stops(3))
    (own,) = set(out.glob("collected/*")) - {other}
    cut = next(own.iterdir())
    cut.write_bytes(cut.read_bytes()[:-20])
    for path in other.iterdir():
        pq.write_table(pa.table({"row": [1]}), path)
    build_dataset(world.labels, out, SETTINGS)
    assert contents(out) == whole


def test_an_error_in_the_first_pass_is_said_and_keeps_what_the_other_shards_gave(world, whole, tmp_path, makers):
    labels, out = tmp_path / "labels", tmp_path / "d"
    makers.copy(world.labels, labels)
    table = labels / "labels/pairs-001.parquet"
    before = table.read_bytes()
    table.write_bytes(before[: len(before) // 2])
    with pytest.raises(OpenMofiError, match=r"pairs-001\.parquet cannot be read"):
        build_dataset(labels, out, SETTINGS)
    assert {path.name for path in out.iterdir()} == {"manifest.json", "collected"}
    parts = {path: path.stat().st_mtime_ns for path in out.glob("collected/*/*.parquet")}
    assert {path.name for path in parts} <= {"pairs-000.parquet", "pairs-002.parquet"}
    table.write_bytes(before)
    build_dataset(labels, out, SETTINGS)
    images = {name: data for name, data in contents(out).items() if name.startswith("images/")}
    assert images == {name: data for name, data in whole.items() if name.startswith("images/")}
    assert not (out / "collected").exists()


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


class Failing:
    """Calls a function until its call of this number, which finds a full disk, as all later ones do."""

    def __init__(self, function, at):
        self.function, self.left = function, at

    def __call__(self, *given, **named):
        self.left -= 1
        return full() if self.left <= 0 else self.function(*given, **named)


@pytest.mark.parametrize(
    ("name", "at", "done"),
    [
        ("passes.write_table", 5, 3),  # the second table of the second pass
        ("collect._append", 4, 3),  # the driver's files
        ("build.keep", 1, 3),
        ("build.write_report", 1, 6),
        ("passes.write_table", 3, 2),
    ],
)
def test_after_an_error_no_finished_shard_is_read_again(world, whole, tmp_path, monkeypatch, name, at, done):
    """Also where it is a full disk, and where what is started next has other settings."""
    out, module = tmp_path / "d", name.partition(".")[0]
    where = importlib.import_module(f"openmofi.dataset.{module}")
    with monkeypatch.context() as patch:
        patch.setattr(where, name.rpartition(".")[2], Failing(getattr(where, name.rpartition(".")[2]), at))
        with pytest.raises((OpenMofiError, OSError), match=r"No space left|disk is full"):
            build_dataset(world.labels, out, SETTINGS)
    assert not list(out.rglob(".openmofi-tmp*"))
    parts = {path: path.stat().st_mtime_ns for path in out.glob("collected/*/*.parquet")}
    assert len(parts) == min(done, 3)
    collected = []
    usual = Passes.collect
    monkeypatch.setattr(Passes, "collect", lambda passes, shard: collected.append(shard) or usual(passes, shard))
    if not list(out.glob("images/*")):
        with pytest.raises(OpenMofiError, match="keeps 5000 images"):
            build_dataset(world.labels, out, DatasetSettings(5000))
        assert len(collected) == 3 - len(parts)
        collected.clear()
    build_dataset(world.labels, out, SETTINGS)
    assert not collected
    assert contents(out) == whole


def test_a_number_of_rows_that_is_none_is_said(world, tmp_path, makers):
    makers.copy(world.labels, tmp_path / "labels")
    path = tmp_path / "labels/manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "counts": {"rows_out": "many"}}))
    with pytest.raises(OpenMofiError, match=r"manifest\.json cannot be read"):
        build_dataset(tmp_path / "labels", tmp_path / "d", SETTINGS)
