import json
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

import openmofi
import small_world as small_world_module
from forked import Fork
from openmofi.encoders import Head, open_encoder, save_heads
from openmofi.engine import Quiet
from openmofi.engine.engines import ProcessEngine
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.knowledge.texts import DEFAULT_TEMPLATE
from openmofi.labeling import read as stage_module
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.pairs import Record, write_tar
from openmofi.schema import LABELS, LabelStatus, PairStatus
from openmofi.storage import read_manifest, write_table

pytestmark = pytest.mark.slow

CACHED = ["texts", "repeats", "links", "groups", "features", "entities"]


def tables(out: Path) -> dict[str, list[dict]]:
    return {path.stem: pq.read_table(path).to_pylist() for path in sorted((out / "labels").glob("*.parquet"))}


def digests(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted((out / "labels").glob("*.parquet"))}


def test_every_row_comes_out_once_in_order_with_a_status(small_world, labelled):
    found = tables(labelled)
    assert [(shard, row["key"]) for shard, rows in found.items() for row in rows] == list(small_world.truth)
    allowed = {*LabelStatus, *PairStatus}
    assert {row["status"] for rows in found.values() for row in rows} <= allowed
    counts = read_manifest(labelled, "labels").counts
    assert counts["rows_in"] == counts["rows_out"] == len(small_world.truth)
    assert counts["status"] == dict(Counter(row["status"] for rows in found.values() for row in rows))


def test_tables_have_the_schema(labelled):
    for path in (labelled / "labels").glob("*.parquet"):
        assert pq.read_schema(path).remove_metadata() == LABELS


def test_labels_are_right_and_the_image_settles_the_ambiguous_name(small_world, labelled):
    right = wrong = ambiguous = 0
    for shard, rows in tables(labelled).items():
        for row in rows:
            for entity in row["entities"]:
                if entity["accepted"]:
                    good = entity["entity"] == small_world.truth[shard, row["key"]]
                    right, wrong = right + good, wrong + (not good)
                    ambiguous += good and "orange" in entity["entity"]
    assert right > 120
    assert right / (right + wrong) >= 0.9
    assert ambiguous > 10


def test_reasons_agree_with_acceptance_and_statuses(labelled):
    for rows in tables(labelled).values():
        for row in rows:
            accepted = [e for e in row["entities"] if e["accepted"]]
            assert all((e["reason"] == "accepted") == e["accepted"] for e in row["entities"])
            assert (row["status"] == LabelStatus.LABELLED) == bool(accepted)
            if row["status"] in (LabelStatus.NO_MENTION, PairStatus.IMAGE_BROKEN):
                assert not row["entities"]


def test_at_most_one_candidate_of_a_mention_is_accepted_with_a_threshold_of_half(labelled):
    for rows in tables(labelled).values():
        for row in rows:
            mentions = [e["mention"] for e in row["entities"] if e["accepted"]]
            assert len(mentions) == len(set(mentions))


def test_a_second_run_with_another_threshold_reads_nothing_again(small_world, small_encoder, labelled, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in labelled.glob("features/*/*.arrow")}
    strict = openmofi.label(
        small_world.shards,
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "out",
        threshold=0.99,
        cache=labelled,
    )
    assert before
    # What training asks for was written on the way.
    assert {path.name for path in labelled.glob("index/*/*")} == {
        f"{path.stem}.parquet" for path in labelled.glob("features/*/*.arrow")
    }
    assert strict.summary["accepted"] < read_manifest(labelled, "labels").counts["accepted"]
    assert {path: path.stat().st_mtime_ns for path in labelled.glob("features/*/*.arrow")} == before
    assert not list((tmp_path / "out").glob("features/*"))


def test_a_finished_job_answers_from_its_manifest_until_a_table_is_gone(
    small_world, small_encoder, labelled, tmp_path, monkeypatch
):
    out, encoder = tmp_path / "out", open_encoder(small_encoder)
    first = openmofi.label(small_world.shards, kb=small_world.kb, encoder=encoder, out=out, cache=labelled)
    before = digests(out)
    encoder.calibrations.clear()
    with monkeypatch.context() as patch:
        patch.setattr("openmofi.labeling.job.STEPS", None)
        again = openmofi.label(small_world.shards, kb=small_world.kb, encoder=encoder, out=out, cache=labelled)
    assert again.summary == first.summary
    assert encoder.calibrations == {Calibration.load(out / "calibration.json").fitted_for: f"{out}/calibration.json"}
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])):
        damage(min((out / "labels").iterdir()))
        openmofi.label(small_world.shards, kb=small_world.kb, encoder=encoder, out=out, cache=labelled)
        assert digests(out) == before


@pytest.mark.parametrize("engine", ["local", "processes:2"])
def test_a_shard_that_cannot_be_read_is_set_aside_and_named(
    engine, small_world, small_encoder, tmp_path, monkeypatch, forked_workers
):
    monkeypatch.setattr(ProcessEngine, "few", 100)
    pairs = tmp_path / "pairs"
    shutil.copytree(small_world.shards, pairs)
    poisoned = min(pairs.iterdir())
    poisoned.write_bytes(poisoned.read_bytes()[:5000])
    given = {"kb": small_world.kb, "encoder": small_encoder, "out": tmp_path / "out", "engine": engine}
    for _ in range(2):
        with pytest.raises(OpenMofiError, match=f"1 of 4 shards could not be labelled .{poisoned.stem}") as caught:
            openmofi.label(pairs, **given)
        assert "The others are in" in caught.value.message
        labels = openmofi.Labels.open(tmp_path / "out")
        assert set(tables(tmp_path / "out")) == {path.stem for path in pairs.iterdir()} - {poisoned.stem}
        assert labels.summary["rows_in"] == labels.summary["rows_out"] == 240
        assert set(labels.summary["failed"]) == {poisoned.stem}
    dataset = openmofi.build_dataset(labels, kb=small_world.kb, out=tmp_path / "dataset", report=False)
    assert len(dataset.to_arrow()) > 100


def test_a_corpus_is_merged_in_parts_with_the_same_outcome(small_world, small_encoder, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.engine.two_pass.PART", 1)
    openmofi.label(small_world.shards, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out")
    assert digests(tmp_path / "out") == digests(labelled)
    for kind in ("repeats", "groups"):
        one, other = (next((out / kind).iterdir()).read_bytes() for out in (labelled, tmp_path / "out"))
        assert one == other


@pytest.mark.parametrize("more", [{}, {"target_precision": 0.97}, {"adapt": True}])
def test_what_failed_is_tried_again_and_judged_as_the_others_were(
    small_world, small_encoder, labelled, tmp_path, monkeypatch, more
):
    def reads(shard, *options):
        if shard.name.endswith("2"):
            raise ConnectionError("the store is away")
        yield from read_pairs(shard, *options)

    given = {"kb": small_world.kb, "encoder": small_encoder, "out": tmp_path / "out", **more}
    read_pairs = stage_module.read_pairs
    with monkeypatch.context() as patch:
        patch.setattr(stage_module, "read_pairs", reads)
        with pytest.raises(OpenMofiError, match="failed 3 times: the store is away"):
            openmofi.label(small_world.shards, **given)
    before = digests(tmp_path / "out")
    first = openmofi.Labels.open(tmp_path / "out").summary
    decided = {path: path.read_bytes() for path in (tmp_path / "out").rglob("calibration.json")}
    counts = openmofi.label(small_world.shards, **given).summary
    assert "failed" not in counts
    assert decided == {path: path.read_bytes() for path in (tmp_path / "out").rglob("calibration.json")}
    for name in ("threshold", "calibration", "adapter"):
        assert counts.get(name) == first.get(name)
    assert counts["rows_in"] == len(small_world.truth)
    after = digests(tmp_path / "out")
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_other_settings_in_the_same_folder_are_refused(small_world, small_encoder, labelled):
    with pytest.raises(OpenMofiError, match="made with other settings"):
        openmofi.label(small_world.shards, kb=small_world.kb, encoder=small_encoder, out=labelled, threshold=0.9)


def test_target_precision_chooses_the_threshold(small_world, small_encoder, labelled, tmp_path):
    openmofi.label(
        small_world.shards,
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "out",
        target_precision=0.97,
        cache=labelled,
    )
    # A label that a text names twice stands twice in its row; it is chosen, and counts, once.
    accepted = {
        (shard, row["key"], entity["entity"]): entity["probability"]
        for shard, rows in tables(tmp_path / "out").items()
        for row in rows
        for entity in row["entities"]
        if entity["accepted"]
    }
    assert np.mean(list(accepted.values())) >= 0.97 - 1e-6


def test_top_k_keeps_the_most_probable(small_world, small_encoder, labelled, tmp_path):
    openmofi.label(
        small_world.shards,
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "out",
        threshold=0.01,
        top_k=1,
        cache=labelled,
    )
    for rows in tables(tmp_path / "out").values():
        for row in rows:
            accepted = [e for e in row["entities"] if e["accepted"]]
            assert len({e["entity"] for e in accepted}) <= 1
            beyond = [e["probability"] for e in row["entities"] if e["reason"] == "beyond_top_k"]
            assert not beyond or max(beyond) <= max(e["probability"] for e in accepted)


def test_an_adapter_is_fitted_stored_and_used(small_world, small_encoder, labelled, tmp_path):
    first, again = (
        openmofi.label(
            small_world.shards,
            kb=small_world.kb,
            encoder=small_encoder,
            out=tmp_path / name,
            adapt=True,
            cache=labelled,
        ).summary
        for name in ("out", "other")
    )
    assert (tmp_path / "out/adapter/heads.safetensors").exists()
    assert first == again
    check = first["adapter"]
    assert check["why"].startswith("The adapter is used" if check["used"] else "The adapter is not used")
    assert digests(tmp_path / "out") == digests(tmp_path / "other")
    assert (digests(tmp_path / "out") != digests(labelled)) == check["used"]
    assert (tmp_path / "out/adapter/calibration.json").exists() == check["used"]


def test_a_compiled_encoder_gives_the_same_labels_and_is_noted(
    small_world, small_encoder, labelled, tmp_path, monkeypatch
):
    made = []
    monkeypatch.setattr("torch.compile", lambda network: made.append(network) or network)
    shard, found = sorted(small_world.shards.glob("*.tar"))[0], {}
    for compile in (False, True):
        out = tmp_path / str(compile)
        openmofi.label(
            shard,
            kb=small_world.kb,
            encoder=small_encoder,
            out=out,
            compile=compile,
            calibration=labelled / "calibration.json",
            progress=False,
        )
        found[compile] = (out / f"labels/{shard.stem}.parquet").read_bytes(), read_manifest(out)
    assert len(made) == 1
    assert found[True][0] == found[False][0]
    assert found[True][1].counts == {**found[False][1].counts, "compiled": True}
    assert found[True][1].fingerprint == found[False][1].fingerprint


def test_processes_give_the_same_labels(small_world, small_encoder, labelled, tmp_path, monkeypatch, forked_workers):
    monkeypatch.setattr("openmofi.engine.engines.ProcessEngine.few", 0)
    openmofi.label(
        small_world.shards, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out", engine="processes:2"
    )
    first, second = tables(labelled), tables(tmp_path / "out")
    for shard in first:
        for a, b in zip(first[shard], second[shard], strict=True):
            assert (a["key"], a["status"]) == (b["key"], b["status"])
            np.testing.assert_allclose(
                [e["probability"] for e in a["entities"]], [e["probability"] for e in b["entities"]], atol=2e-2
            )


def test_killed_three_times_the_labels_are_the_same_bytes(small_world, small_encoder, tmp_path):
    out = tmp_path / "out"
    command = ["openmofi", "label", small_world.shards, "--kb", small_world.kb, "--encoder", small_encoder, "-o"]
    chance = random.Random(11)
    started = time.monotonic()
    done = Fork(*command, tmp_path / "warm").finish()
    whole = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    for _ in range(3):
        process = Fork(*command, out)
        time.sleep(chance.uniform(0.3, 0.9) * whole)
        process.kill()
        process.communicate()
    done = Fork(*command, out).finish()
    assert done.returncode == 0, done.stderr
    # What a process with other threads computes may differ in the last bits, on some processors.
    assert digests(out) == digests(tmp_path / "warm")
    assert not list(out.rglob(".openmofi-tmp-*"))


def test_too_few_pairs_for_a_calibration_say_so(small_world, small_encoder, tmp_path):
    from openmofi.encoders import Head, open_encoder, save_heads

    base = open_encoder("backbone:efficientnet-lite0+minilm")
    save_heads(
        tmp_path / "bare",
        base=base,
        image_head=Head.initial(base.feature_dim, 16, seed=0),
        text_head=Head.initial(base.text_feature_dim, 16, seed=1),
        logit_scale=10.0,
        settings={},
    )
    with pytest.raises(OpenMofiError, match="too few to calibrate"):
        openmofi.label(
            small_world.shards / "00000.tar",
            kb=small_world.kb,
            encoder=f"run:{tmp_path / 'bare'}",
            out=tmp_path / "out",
        )


def test_the_encoders_calibration_is_used_and_copied(small_encoder, labelled):
    beside = Calibration.load(Path(small_encoder.removeprefix("run:")) / "calibration.json")
    assert Calibration.load(labelled / "calibration.json") == beside


def test_an_export_labels_as_its_original(small_world, small_encoder, labelled, tmp_path):
    """By OpenVINO; that ONNX embeds as these backbones do is in tests/plugins/export/test_heads.py."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("openvino")
    from openmofi.encoders import open_encoder
    from openmofi.plugins.export import ExportSettings
    from openmofi.plugins.export.agreement import samples_of
    from openmofi.plugins.export.job import export_encoder

    spec, shards = f"openvino:{tmp_path / 'export'}", [str(small_world.shards)]
    export_encoder(
        open_encoder(small_encoder), tmp_path / "export", ExportSettings("openvino"), samples_of(shards, 128)
    )
    counts = openmofi.label(shards, kb=small_world.kb, encoder=spec, out=tmp_path / "out").summary
    assert counts == read_manifest(labelled, "labels").counts | {
        "expected_precision": pytest.approx(counts["expected_precision"], abs=1e-4)
    }
    assert Calibration.load(tmp_path / "out/calibration.json") == Calibration.load(labelled / "calibration.json")
    first, second = tables(labelled), tables(tmp_path / "out")
    assert list(first) == list(second)
    for a, b in ((a, b) for shard in first for a, b in zip(first[shard], second[shard], strict=True)):
        assert {**a, "entities": None} == {**b, "entities": None}
        for name in ("entity", "mention", "accepted", "reason"):
            assert [e[name] for e in a["entities"]] == [e[name] for e in b["entities"]]
        for name in ("probability", "image_score"):
            np.testing.assert_allclose(
                [e[name] for e in b["entities"]],
                [e[name] for e in a["entities"]],
                atol=1e-4 if name == "probability" else 1e-2,
            )
    inputs = [read_manifest(folder, "labels").inputs["/encoder"] for folder in (labelled, tmp_path / "out")]
    assert inputs == [open_encoder(small_encoder).fingerprint, open_encoder(spec).fingerprint]


class Notes(Quiet):
    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


def test_few_pairs_are_done_here_and_that_is_said(small_world, small_encoder, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.engine.engines.ProcessEngine.run", None)
    monkeypatch.setattr("openmofi.engine.loop.Session.run", None)
    notes = Notes()
    openmofi.label(
        small_world.shards,
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "out",
        engine="processes:2",
        progress=notes,
    )
    assert digests(tmp_path / "out") == digests(labelled)
    assert f"{len(small_world.truth)} pairs are done in this process" in notes.said[0]


@pytest.fixture
def nameless(small_world, tmp_path) -> Path:
    """A shard whose texts name nothing."""
    images = [small_world_module.drawn_image("e:sun", np.random.default_rng(seed)) for seed in range(3)]
    write_tar(tmp_path / "nameless.tar", [Record(f"{row}", image, "untitled") for row, image in enumerate(images)])
    return tmp_path / "nameless.tar"


@pytest.mark.parametrize("more", [{}, {"adapt": True}, {"target_precision": 0.9}])
def test_a_job_whose_texts_name_nothing_finishes_without_labels(small_world, small_encoder, nameless, tmp_path, more):
    bare = shutil.copytree(small_encoder.removeprefix("run:"), tmp_path / "bare")
    (bare / "calibration.json").unlink()
    notes = Notes()
    labels = openmofi.label(
        nameless, kb=small_world.kb, encoder=f"run:{bare}", out=tmp_path / "out", progress=notes, **more
    )
    assert (labels.summary["rows_in"], labels.summary["accepted"]) == (3, 0)
    assert labels.summary["status"] == {"no_mention": 3}
    assert labels.summary["expected_precision"] is None
    assert any("names an entity" in message and str(small_world.kb) in message for message in notes.said)
    assert not (tmp_path / "out/calibration.json").exists()


@pytest.mark.parametrize("kind", CACHED)
@pytest.mark.parametrize("damage", ["half", "empty", "zeros"])
def test_a_cache_that_was_cut_off_is_made_again(small_world, small_encoder, labelled, tmp_path, kind, damage):
    for name in CACHED:
        shutil.copytree(labelled / name, tmp_path / "cache" / name)
    # What is made of it is made again too.
    later = {"texts": ("links",), "repeats": ("links",)}.get(kind, ())
    for name in later:
        shutil.rmtree(tmp_path / "cache" / name)
    # A block of the store of entities is not looked at where there is a table: see tests/features/test_entities.py.
    wanted = "*.arrow" if kind == "entities" else "*"
    path = next(path for path in sorted((tmp_path / "cache" / kind).rglob(wanted)) if path.is_file())
    whole = path.read_bytes()
    half = whole[: len(whole) // 2]
    path.write_bytes({"half": half, "empty": b"", "zeros": half.ljust(len(whole), b"\0")}[damage])
    openmofi.label(
        small_world.shards, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out", cache=tmp_path / "cache"
    )
    assert digests(tmp_path / "out") == digests(labelled)
    assert path.read_bytes() == whole


def test_links_that_are_damaged_inside_are_one_sentence(small_world, small_encoder, labelled, tmp_path):
    for name in CACHED:
        shutil.copytree(labelled / name, tmp_path / "cache" / name)
    path = next((tmp_path / "cache/links").rglob("*.parquet"))
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) // 4) + whole[4 + len(whole) // 4 :])
    with pytest.raises(OpenMofiError, match="cannot be read") as raised:
        openmofi.label(
            small_world.shards, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out", cache=tmp_path / "cache"
        )
    assert str(path) in str(raised.value)


def test_a_calibration_says_what_it_was_fitted_for(small_world, small_encoder, labelled):
    origin = Calibration.load(labelled / "calibration.json").origin
    assert origin == {
        "encoder": open_encoder(small_encoder).fingerprint,
        "template": DEFAULT_TEMPLATE,
        "kb": KnowledgeBase.open(small_world.kb).fingerprint,
        "detector": "gazetteer",
        "linker": "coherence",
    }


@pytest.fixture(scope="module")
def other_kb(tmp_path_factory) -> Path:
    """A knowledge base that lacks an entity of the small world's."""
    folder = tmp_path_factory.mktemp("other")
    source = small_world_module.write_kb_source(folder / "source")
    for name, column in (("entities", "id"), ("names", "entity")):
        rows = pq.read_table(source / f"{name}.parquet")
        write_table(source / f"{name}.parquet", rows.filter(pc.not_equal(rows[column], "e:sun")))
    build_table(source, folder / "kb")
    return folder / "kb"


# Which encoder judges is known only when the adapter has been fitted.
@pytest.mark.parametrize(
    ("change", "adapt"),
    [("encoder", False), *((change, adapt) for change in ("kb", "template", "unsaid") for adapt in (False, True))],
)
def test_a_calibration_of_something_else_is_refused_before_anything_is_read(
    small_world, small_encoder, labelled, other_kb, tmp_path, change, adapt
):
    path, used = labelled / "calibration.json", {"kb": small_world.kb, "encoder": small_encoder}
    origin, says = Calibration.load(path).origin, "does not say for which"
    if change == "encoder":
        base = open_encoder("backbone:efficientnet-lite0+minilm")
        heads = [Head.initial(dim, 64, seed=0) for dim in (base.feature_dim, base.text_feature_dim)]
        save_heads(
            tmp_path / "untrained", base=base, image_head=heads[0], text_head=heads[1], logit_scale=10.0, settings={}
        )
        used["encoder"] = f"run:{tmp_path / 'untrained'}"
        says = rf"another encoder \({origin['encoder']}\) than {used['encoder']} \("
    elif change == "kb":
        used["kb"] = other_kb
        says = rf"another knowledge base \({origin['kb']}\) than {other_kb} \("
    elif change == "template":
        used["template"] = "{name}"
        says = rf"another template \('{DEFAULT_TEMPLATE}'\) than '{{name}}'"
    else:
        older = {key: value for key, value in json.loads(path.read_text()).items() if key != "origin"}
        path = tmp_path / "older.json"
        path.write_text(json.dumps(older | {"fitted_for": ""}))
    with pytest.raises(OpenMofiError, match=says) as raised:
        openmofi.label(small_world.shards, **used, out=tmp_path / "out", calibration=path, adapt=adapt)
    assert str(path) in str(raised.value)
    assert not (tmp_path / "out").exists()
    if not adapt:
        with pytest.raises(OpenMofiError, match=says):
            openmofi.explain(Image.new("RGB", (64, 64)), "the sun", **used, calibration=path, cache=tmp_path)


def test_an_adapter_takes_no_calibration_of_its_base(small_world, small_encoder, labelled, tmp_path):
    with pytest.raises(OpenMofiError, match=r"another encoder .* than run:.*adapter"):
        openmofi.label(
            small_world.shards,
            kb=small_world.kb,
            encoder=small_encoder,
            out=tmp_path / "out",
            adapt=True,
            cache=labelled,
            calibration=labelled / "calibration.json",
        )


def test_an_older_calibration_still_holds_for_what_it_was_fitted_for(small_world, small_encoder, labelled, tmp_path):
    older = json.loads((labelled / "calibration.json").read_text())
    del older["origin"]
    (tmp_path / "older.json").write_text(json.dumps(older))
    openmofi.label(
        small_world.shards,
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "out",
        cache=labelled,
        calibration=tmp_path / "older.json",
    )
    assert digests(tmp_path / "out") == digests(labelled)


def test_another_linker_than_the_calibrations_is_said(small_world, small_encoder, labelled, tmp_path):
    notes = Notes()
    openmofi.label(
        small_world.shards,
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "out",
        linker="prior",
        cache=labelled,
        calibration=labelled / "calibration.json",
        progress=notes,
    )
    assert "The calibration was fitted with the linker coherence, not prior." in notes.said


def test_an_encoder_of_images_alone_is_refused_before_anything_is_read(small_world, tmp_path):
    encoder, shard = "timm:test_vit/none?size=32", tmp_path / "damaged.tar"
    shard.write_bytes(b"no tar")
    with pytest.raises(OpenMofiError, match="embeds images only"):
        openmofi.label(shard, kb=small_world.kb, encoder=encoder, out=tmp_path / "out")
    with pytest.raises(OpenMofiError, match="embeds images only"):
        openmofi.explain(tmp_path / "none.jpg", "the sun", kb=small_world.kb, encoder=encoder)
    assert not (tmp_path / "out").exists()
