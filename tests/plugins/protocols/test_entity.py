"""Entity recognition against a plain loop, and the protocol on a tiny dataset, knowledge base and world."""

import numpy as np
import pyarrow as pa
import pytest
from colours import COLOURS, Eye, drawn_image
from hypothesis import given
from hypothesis import strategies as st

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.run import evaluate
from openmofi.knowledge import build_table
from openmofi.pairs import Record, write_tar
from openmofi.plugins.protocols.entity import BOTH, IMAGES, TEXT, recognise
from openmofi.schema import DATASET, ENTITIES, NAMES, TRUTH, VOCABULARY
from openmofi.storage import claim_folder, finish_manifest, write_table


def unit(draw, count, dim=4):
    values = draw.normal(size=(count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@given(seed=st.integers(0, 2**32 - 1))
def test_ranks_equal_a_plain_loop(seed):
    draw = np.random.default_rng(seed)
    count, k = int(draw.integers(2, 9)), int(draw.integers(1, 6))
    images, queries, texts = unit(draw, int(draw.integers(1, 20))), unit(draw, 5), unit(draw, count)
    entities = [draw.choice(count, int(draw.integers(1, min(3, count + 1))), replace=False).tolist() for _ in images]
    true = draw.integers(-1, count, 5)
    found = recognise(
        queries, true, count, images, entities, texts, k=k, temperature=0.1, logit_scale=20.0, text_weight=0.3
    )
    for row, query in enumerate(queries):
        cosines = images @ query
        shares = np.zeros(count)
        for place in np.argsort(-cosines, kind="stable")[:k]:
            for entity in entities[place]:
                shares[entity] += np.exp(float(cosines[place]) / 0.1)
        shares /= shares.sum()
        logits = np.exp(20 * (texts @ query).astype(np.float64))
        ways = {IMAGES: shares, TEXT: logits / logits.sum(), BOTH: 0.7 * shares + 0.3 * logits / logits.sum()}
        for way, values in ways.items():
            order = [code for code in np.argsort(-values, kind="stable").tolist() if values[code] > 0]
            gaps = np.diff(np.sort(values[values > 0]))
            if gaps.min(initial=1) < 1e-9 and way != IMAGES:
                continue
            codes, best = found.first[way]
            if gaps.min(initial=1) > 1e-6:
                assert [code for code in codes[row].tolist() if code >= 0] == order[:5]
                assert found.ranks[way][row] == (order.index(true[row]) + 1 if true[row] in order else 0)
            assert best[row].max() == pytest.approx(values.max(), rel=1e-4)


def test_without_texts_there_are_images_alone():
    draw = np.random.default_rng(0)
    labelled = unit(draw, 3)
    found = recognise(
        unit(draw, 2),
        np.array([0, 1]),
        2,
        labelled,
        [[0], [1], [0, 1]],
        None,
        k=2,
        temperature=0.1,
        logit_scale=1.0,
        text_weight=0.5,
    )
    assert list(found.ranks) == [IMAGES]


SEEN, UNSEEN = ("blue", "green", "red"), "yellow"


def write_demo(folder):
    """Labelled images of three colours, a knowledge base of four, queries of all, one without truth, one broken."""
    source = folder / "source"
    rows = [
        {"id": f"e:{name}", "name": name, "description": f"the colour {name}", "types": [], "popularity": 1.0}
        for name in COLOURS
    ]
    rows.append({"id": "e:other", "name": "nothing", "description": "", "types": [], "popularity": 1.0})
    write_table(source / "entities.parquet", pa.Table.from_pylist(rows, ENTITIES))
    write_table(
        source / "names.parquet",
        pa.Table.from_pylist([{"name": row["name"], "entity": row["id"], "count": 1.0} for row in rows], NAMES),
    )
    build_table(source, folder / "kb")
    write_tar(
        folder / "pages/a.tar",
        [Record(f"{name}{one}", drawn_image(name, one, 20), None) for name in COLOURS for one in range(8)],
    )
    shard = {"path": str(folder / "pages/a.tar"), "name": "a"}
    manifest = claim_folder(folder / "dataset", "dataset", {"shards": [shard]})
    write_table(
        folder / "dataset/images/a.parquet",
        pa.Table.from_pylist(
            [
                {
                    "shard": "a",
                    "key": f"{name}{one}",
                    "text": "",
                    "classes": [number],
                    "entities": [f"e:{name}"],
                    "scores": [1.0],
                }
                for number, name in enumerate(SEEN)
                for one in range(8)
            ],
            DATASET,
        ),
    )
    write_table(
        folder / "dataset/vocabulary.parquet",
        pa.Table.from_pylist(
            [{"class_id": number, "id": f"e:{name}", "name": name, "images": 8} for number, name in enumerate(SEEN)],
            VOCABULARY,
        ),
    )
    finish_manifest(folder / "dataset", manifest, {})
    records = [Record(f"{name}{one}", drawn_image(name, 100 + one, 20), None) for name in COLOURS for one in range(4)]
    write_tar(
        folder / "world/retrieval/q.tar",
        [
            *records,
            Record("lost", drawn_image("red", 7), None),
            Record("broken", b"no image", None),
            Record("again", drawn_image("red", 3, 20), None),
        ],
    )
    truth = [(record.key, f"e:{record.key[:-1]}") for record in records] + [("again", "e:red"), ("lost", "")]
    write_table(
        folder / "world/truth.parquet",
        pa.Table.from_pylist(
            [
                {
                    "shard": "q",
                    "key": key,
                    "entity": entity,
                    "named": False,
                    "ambiguous": False,
                    "domain": "",
                    "split": "",
                }
                for key, entity in truth
            ],
            TRUTH,
        ),
    )
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("demo"))


def run(data, tmp_path, encoder=None, overrides=(), **options):
    return evaluate(
        "entity",
        encoder or Eye(),
        data,
        tmp_path / "cache",
        Quiet(),
        overrides=["queries=world/retrieval", "k=5", *overrides],
        **options,
    )


def test_the_protocol(demo, tmp_path):
    found = run(demo, tmp_path, failures=3)
    result = found.result
    assert result.counts == {
        "queries": 17,
        "queries_without_truth": 1,
        "queries_of_unseen_entities": 4,
        "labelled_images": 24,
        "entities": 4,
        "entities_seen": 3,
        "entities_not_in_kb": 0,
        "queries_also_labelled": 1,
        "excluded": 1,
    }
    metrics = {name.removeprefix("entity/"): value for name, value in result.metrics.items()}
    assert metrics["seen/top1_images"] == 1
    assert metrics["unseen/top1_images"] == metrics["unseen/top5_images"] == 0  # no labelled image, no share
    assert metrics["top1_images"] == pytest.approx(13 / 17)
    assert metrics["harmonic_mean_top1_images"] == 0
    assert metrics["seen/top1_text"] == metrics["unseen/top1_text"] == metrics["harmonic_mean_top1_text"] == 1
    assert metrics["top5_text"] == metrics["top5_both"] == 1
    assert metrics["seen/top1_both"] == 1
    trusting = run(demo, tmp_path, overrides=["text_weight=0.6", "logit_scale=100"]).result
    assert trusting.metrics["entity/top1_both"] == 1
    assert result.facts["logit_scale"] == 1.0  # the eye's own
    items = found.items
    assert items.num_rows == 17
    assert sorted(set(items["part"].to_pylist())) == ["seen", "unseen"]
    assert found.failures[0].name == UNSEEN
    assert [right for *_, right in found.failures[0].answers].count(True) == 1
    everything = run(demo, tmp_path, overrides=["candidates=kb"]).result
    assert everything.counts["entities"] == 5
    assert everything.data["fingerprint"] != result.data["fingerprint"]


def test_an_encoder_of_images_alone(demo, tmp_path):
    for encoder in (Eye(texts=False), Eye(joint=False)):
        result = run(demo, tmp_path, encoder).result
        assert result.facts["texts"] is False
        assert result.headline in result.metrics
        assert not any(name.endswith(("_text", "_both")) for name in result.metrics)


def test_an_entity_that_the_knowledge_base_does_not_know_is_wrong(demo, tmp_path):
    row = {
        "shard": "q",
        "key": "red0",
        "entity": "e:purple",
        "named": False,
        "ambiguous": False,
        "domain": "",
        "split": "",
    }
    write_table(tmp_path / "truth.parquet", pa.Table.from_pylist([row], TRUTH))
    result = run(demo, tmp_path, overrides=[f"truth={tmp_path / 'truth.parquet'}"]).result
    assert result.counts["entities_not_in_kb"] == 1
    assert result.metrics["entity/top5_both"] == 0


def test_faults_are_one_sentence(demo, tmp_path):
    with pytest.raises(UsageError, match="unknown value 'all' for candidates"):
        run(demo, tmp_path, overrides=["candidates=all"])
    with pytest.raises(UsageError, match="k is 0; it must be at least 1"):
        run(demo, tmp_path, overrides=["k=0"])
    with pytest.raises(OpenMofiError, match="truth"):
        run(demo, tmp_path, overrides=["truth=none.parquet"])
    with pytest.raises(OpenMofiError, match="dataset"):
        run(demo, tmp_path, overrides=["dataset=none"])
    other = tmp_path / "source"
    write_table(
        other / "entities.parquet",
        pa.Table.from_pylist(
            [{"id": "e:blue", "name": "blue", "description": "", "types": [], "popularity": 1.0}], ENTITIES
        ),
    )
    write_table(
        other / "names.parquet", pa.Table.from_pylist([{"name": "blue", "entity": "e:blue", "count": 1.0}], NAMES)
    )
    build_table(other, tmp_path / "kb")
    with pytest.raises(OpenMofiError, match=r"knowledge base .* lacks the entity 'e:green'"):
        run(demo, tmp_path, overrides=[f"kb={tmp_path / 'kb'}"])
