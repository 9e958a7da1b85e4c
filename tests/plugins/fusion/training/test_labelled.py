"""Examples from labels written by hand, and a linker that goes on from another one on them."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from fusion_world import make_examples, tiny
from kb_tables import write_source
from typer.testing import CliRunner
from word_mentions import link

from openmofi.cli.main import app
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.linking import open_linker
from openmofi.plugins.fusion.examples import write_examples
from openmofi.plugins.fusion.fusion_settings import LinkData
from openmofi.plugins.fusion.store import build_fusion, open_fusion, save_fusion
from openmofi.plugins.fusion.training_data import HELD_OUT, labelled_examples
from openmofi.schema import LABELS
from openmofi.storage import Shard, claim_folder, finish_manifest, write_table

ENTITIES = ["bird", "tool"]
NAMES = [("name0", "bird", 1.0), ("name0", "tool", 3.0), ("name1", "bird", 2.0), ("name1", "tool", 2.0)]
HINTS = {"bird": "wing", "tool": "steel"}


def write_kb(folder: Path, names=tuple(NAMES)) -> Path:
    build_table(
        write_source(folder / "source", ids=ENTITIES, names=list(names), relations=[("bird", "hypernym", "tool")]),
        folder / "kb",
    )
    return folder / "kb"


@pytest.fixture(scope="module")
def kb(tmp_path_factory) -> Path:
    return write_kb(tmp_path_factory.mktemp("labelled-kb"))


def row(key, text, *probabilities, reason="", name="name0", priors=(0.25, 0.75)):
    """A text with one mention, whose candidates have these probabilities."""
    start = text.index(name)
    entities = [
        {
            "entity": entity,
            "mention": 0,
            "prior": prior,
            "link_score": prior / 2,
            "image_score": 1.0,
            "probability": probability,
            "accepted": probability > 0.8,
            "reason": "accepted",
        }
        for entity, prior, probability in zip(ENTITIES, priors, probabilities, strict=False)
    ]
    mention = {
        "start": start,
        "end": start + len(name),
        "surface": name.upper(),
        "detector": "gazetteer",
        "reason": reason,
    }
    return {
        "key": str(key),
        "text": text,
        "status": "labelled",
        "mentions": [mention],
        "entities": entities,
        "width": 9,
        "height": 9,
        "phash": 1,
    }


def write_labels(folder: Path, kb: Path, *tables: list[dict]) -> Path:
    shards = [asdict(Shard(f"{number}.tar", str(number))) for number in range(len(tables))]
    manifest = claim_folder(
        folder, "labels", {"shards": shards, "kb": str(kb)}, {"/kb": KnowledgeBase.open(kb).fingerprint}
    )
    for number, rows in enumerate(tables):
        write_table(folder / "labels" / f"{number}.parquet", pa.Table.from_pylist(rows, LABELS))
    finish_manifest(folder, manifest, {})
    return folder


def data_of(labels: Path, **changes) -> LinkData:
    return replace(LinkData(labels=str(labels)), **changes)


def test_sure_senses_of_ambiguous_mentions_are_examples(kb, tmp_path):
    labels = write_labels(
        tmp_path / "labels",
        kb,
        [
            row(0, "a name0 wing", 0.96, 0.02),
            row(1, "a name0 unsure", 0.9, 0.1),
            row(2, "a name0 credit", 0.99, 0.0, reason="credit"),
            row(3, "only name0", 0.99),
        ],
    )
    (example,) = labelled_examples(data_of(labels))
    assert (example.text, example.start, example.end, example.gold, example.group) == (
        "a name0 wing",
        2,
        7,
        "bird",
        "name0",
    )
    assert [(one.id, one.prior) for one in example.candidates] == [("tool", 0.75), ("bird", 0.25)]
    assert example.shadowed
    assert len(labelled_examples(data_of(labels, sure=0.8))) == 2


def test_a_text_of_several_images_is_one_example_and_the_surest_speaks(kb, tmp_path):
    rows = [row(0, "a name0", 0.96, 0.0), row(1, "a name0", 0.0, 0.98), row(2, "a name0", 0.97, 0.0)]
    for number, tables in enumerate(([rows], [rows[::-1]], [rows[:1], rows[1:]])):
        (example,) = labelled_examples(data_of(write_labels(tmp_path / str(number), kb, *tables)))
        assert example.gold == "tool"


def test_few_examples_of_a_name_and_texts_of_one_side_only(kb, tmp_path):
    rows = [row(number, f"a name0 number {number}", 0.96, 0.0) for number in range(200)]
    rows += [row(f"n{number}", f"name1 {number}", 0.0, 0.96, name="name1", priors=(0.5, 0.5)) for number in range(3)]
    labels = write_labels(tmp_path / "labels", kb, rows, [row(0, "a name0 number 5", 0.96, 0.0)])
    whole = labelled_examples(data_of(labels, per_name=1000))
    assert len(whole) == 203
    assert 20 <= sum(example.split == HELD_OUT for example in whole) <= 65
    few = labelled_examples(data_of(labels, per_name=10))
    assert [sum(example.group == name for example in few) for name in ("name0", "name1")] == [10, 3]
    assert set(few) <= set(whole)
    turned = write_labels(tmp_path / "turned", kb, rows[::-1])
    assert labelled_examples(data_of(turned, per_name=10)) == few


def test_what_cannot_be_learned_from_is_one_sentence(kb, tmp_path):
    unsure = write_labels(tmp_path / "unsure", kb, [row(0, "a name0", 0.5, 0.2)])
    with pytest.raises(OpenMofiError, match=r"no ambiguous mention with a sense of probability 0\.95") as raised:
        labelled_examples(data_of(unsure))
    assert raised.value.exit_code == 1
    other = write_kb(tmp_path / "other", NAMES[:3])
    with pytest.raises(OpenMofiError, match="another knowledge base"):
        labelled_examples(data_of(unsure, kb=str(other)))
    gone = write_labels(tmp_path / "gone", other, [])
    other.rename(tmp_path / "elsewhere")
    with pytest.raises(OpenMofiError, match="no longer where it was"):
        labelled_examples(data_of(gone))
    with pytest.raises(OpenMofiError) as raised:
        labelled_examples(data_of(tmp_path))
    assert raised.value.exit_code == 1


def run(*arguments):
    return CliRunner().invoke(
        app, list(map(str, ("link", "train", *arguments))), catch_exceptions=False, env={"COLUMNS": "160"}
    )


def test_a_decoder_goes_on_from_another_on_labels(kb, tmp_path):
    rows = [
        row(
            number,
            f"the name0 near {HINTS[right]} {number % 9 + 1} {'a ' * (number // 9)}",
            *(0.97 if entity == right else 0.0 for entity in ENTITIES),
        )
        for number, right in enumerate(ENTITIES * 60)
    ]
    labels = write_labels(tmp_path / "labels", kb, rows)
    begun = save_fusion(tmp_path / "begun", build_fusion(tiny(tmp_path / "tokens"), seed=1))
    recipe = {
        "data": {"batch_size": 8, "per_name": 1000},
        "optimizer": {"lr": 0.01, "warmup": 1},
        "run": {"steps": 60, "log_every": 10, "checkpoint_every": 20, "best": "validation_accuracy"},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    given = (tmp_path / "mine.yaml", "--labels", labels, "--start", begun, "-o", tmp_path / "run")
    found = json.loads(run(*given, "--json").stdout)
    assert found["accuracy"] > 0.9
    tuned = open_fusion(tmp_path / "run/linker")
    assert tuned.tokens.settings == open_fusion(begun).tokens.settings
    assert (tuned.temperature, tuned.prior_weight) == (found["temperature"], found["prior_weight"])
    base = KnowledgeBase.open(kb)
    answers = {
        hint: links[0].entity
        for hint, links in zip(
            HINTS,
            link(
                open_linker(f"fusion:{tmp_path / 'run/linker'}", base),
                *(f"the name0 near {hint}" for hint in HINTS.values()),
            ),
            strict=True,
        )
    }
    assert answers == {"bird": "bird", "tool": "tool"}
    shown = yaml.safe_load(run(*given, "--show", "--set", "model.similarity=true").stdout)
    assert shown["model"] == asdict(tiny(tmp_path / "tokens", similarity=True))
    save_fusion(begun, build_fusion(tiny(tmp_path / "tokens"), seed=2))
    with pytest.raises(OpenMofiError, match="/start"):
        run(*given)


def test_labels_and_examples_are_not_mixed(kb, tmp_path):
    labels = write_labels(tmp_path / "labels", kb, [row(0, "a name0 wing", 0.96, 0.02)])
    write_examples(tmp_path / "e.parquet", make_examples(3))
    with pytest.raises(UsageError, match="from examples or from labels"):
        run("fusion_labels", "--labels", labels, "--examples", tmp_path / "e.parquet", "-o", tmp_path / "run")
    with pytest.raises(OpenMofiError, match=r"no example of the split|fewer than a batch"):
        run("fusion_labels", "--labels", labels, "-o", tmp_path / "run")
    with pytest.raises(OpenMofiError, match="not a fusion decoder"):
        run("fusion_labels", "--labels", labels, "--start", tmp_path, "-o", tmp_path / "run")
