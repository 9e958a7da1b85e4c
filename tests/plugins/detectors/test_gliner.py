"""GLiNER beside the library itself, on a tiny checkpoint with random weights that the library writes."""

import random
import sys
from itertools import pairwise

import pytest
from kb_tables import write_source

from openmofi.errors import MissingExtraError, OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.mentions import detector_fingerprint, open_detector
from openmofi.plugins.detectors import gliner as zero_shot

WORDS = ["crane", "tower", "red", "Paris", "über", "犬", "a", "of", "the", "in", "lake", "zürich", ",", ".", "-"]
TEXTS = [
    "The red crane of Paris",
    "Tower, lake; crane in Zürich.",
    "a",
    "",
    "  \n",
    "🙂 crane 🙂 tower",
    "מגדל crane في باريس",
    "Zu\u0308rich cafe\u0301 lake",
    "x" * 300,
]
OPTIONS = "?types=bird,city&threshold=0.45"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    gliner = pytest.importorskip("gliner")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("gliner")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS, "bird", "city"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=512,
    ).save_pretrained(folder / "encoder")
    torch.manual_seed(0)
    made = gliner.GLiNER.from_config(
        {
            "model_name": str(folder / "encoder"),
            "hidden_size": 16,
            "max_width": 4,
            "max_len": 16,
            "span_mode": "markerV0",
            "num_rnn_layers": 1,
            "dropout": 0.0,
            "encoder_config": {
                "model_type": "bert",
                "vocab_size": len(vocabulary),
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 32,
                "max_position_embeddings": 512,
            },
        },
        backbone_from_pretrained=False,
    )
    made.save_pretrained(folder / "model", safe_serialization=True)
    return folder / "model"


@pytest.fixture(scope="module")
def kb(kb_folder):
    return KnowledgeBase.open(kb_folder)


@pytest.fixture(scope="module")
def library(model):
    from gliner import GLiNER

    return GLiNER.from_pretrained(str(model))


def spans(mentions):
    return [(mention.start, mention.end, mention.surface) for mention in mentions]


def test_the_spans_are_the_librarys_own(model, kb, library):
    detector = open_detector(f"gliner:{model}{OPTIONS}", kb)
    detected = detector.detect(TEXTS[:-1])
    expected = [
        [
            (entity["start"], entity["end"], entity["text"])
            for entity in library.predict_entities(text, ["bird", "city"], threshold=0.45)
        ]
        if text.strip()
        else []
        for text in TEXTS[:-1]
    ]
    assert list(map(spans, detected)) == expected
    assert sum(map(len, expected)) >= 4
    assert {mention.detector for of_text in detected for mention in of_text} == {"gliner"}


def test_long_texts_are_read_in_windows(model, kb):
    detector = open_detector(f"gliner:{model}{OPTIONS}&batch_size=3", kb)
    draw = random.Random(0)
    text = " ".join(draw.choices(WORDS, k=300)) + " " + "x" * 300 + " the red crane of Paris"
    (found,) = detector.detect([text])
    assert all(text[mention.start : mention.end] == mention.surface for mention in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    # It finds something in each part of the text, and its end as if that stood alone.
    assert {mention.start * 10 // len(text) for mention in found} >= {0, 2, 4, 6, 9}
    (alone,) = detector.detect(["the red crane of Paris"])
    offset = text.index("the red crane of Paris", text.index("xxx"))
    assert [m.start - offset for m in found if m.start >= offset] == [m.start for m in alone]


@pytest.mark.parametrize("count", [1, 15, 16, 17, 28, 29, 40])
def test_windows_cover_each_word_once_and_are_no_longer_than_the_model_reads(model, kb, count):
    detector = open_detector(f"gliner:{model}?types=bird", kb)
    text = " ".join(["crane"] * count)
    windows = list(detector._windows(text))
    own = [word for word in range(0, len(text), 6) for _, _, start, end in windows if start <= word < end]
    assert own == list(range(0, len(text), 6))
    assert all(
        start <= own_start < own_end <= end and end - start <= 16 * 6 for start, end, own_start, own_end in windows
    )


def test_types_are_the_bases_own_where_none_are_given(model, tmp_path):
    build_table(
        write_source(
            tmp_path / "s",
            ids=["a", "b", "c"],
            types=[["noun.animal", "x"], ["noun.animal"], ["y"]],
            names=[("crane", "a", 1.0)],
            relations=(),
        ),
        tmp_path / "kb",
    )
    assert open_detector(f"gliner:{model}", KnowledgeBase.open(tmp_path / "kb")).types == ("animal", "x", "y")


def test_a_base_without_types_asks_for_some(model, tmp_path):
    build_table(
        write_source(tmp_path / "s", ids=["a"], types=[[]], names=[("crane", "a", 1.0)], relations=()), tmp_path / "kb"
    )
    with pytest.raises(UsageError, match="no types") as error:
        open_detector(f"gliner:{model}", KnowledgeBase.open(tmp_path / "kb"))
    assert "?types=" in error.value.hint


def test_a_model_is_known_by_its_content(model, tmp_path):
    import shutil

    shutil.copytree(model, tmp_path / "a+b")
    first, second = (detector_fingerprint(f"gazetteer+gliner:{path}{OPTIONS}") for path in (model, tmp_path / "a+b"))
    assert first == second
    assert first.startswith("gazetteer+gliner:")
    assert detector_fingerprint(f"gazetteer+gliner:{model}?types=bird") != first
    config = tmp_path / "a+b" / "gliner_config.json"
    config.write_text(config.read_text() + " ")
    assert detector_fingerprint(f"gazetteer+gliner:{tmp_path / 'a+b'}{OPTIONS}") != first


def test_a_union_with_the_gazetteer(model, kb):
    (found,) = open_detector(f"gazetteer+gliner:{model}{OPTIONS}", kb).detect(["two red cranes of Paris"])
    assert ("cranes", "gazetteer") in [(m.surface, m.detector.split("+")[0]) for m in found]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "gliner_config.json").unlink(), "holds no GLiNER model"),
        (lambda folder: (folder / "gliner_config.json").write_text("{"), "gliner_config.json cannot be read"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"short"), "cannot be opened"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be opened"),
        (lambda folder: _drop_weights(folder / "model.safetensors"), "cannot be opened"),
    ],
)
def test_a_damaged_model_is_one_sentence(model, kb, tmp_path, damage, sentence):
    import shutil

    shutil.copytree(model, tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(OpenMofiError, match=sentence) as error:
        open_detector(f"gliner:{tmp_path / 'model'}{OPTIONS}", kb)
    assert "\n" not in str(error.value)


def _drop_weights(path):
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    weights.pop(sorted(weights)[0])
    save_file(weights, path)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("gliner", "needs a model|Unknown"),
        ("gliner:", "Unknown"),
        ("gliner:x?type=bird", "options"),
        ("gliner:x?threshold=high", "options"),
        ("gliner:x?threshold=2", "threshold"),
        ("gliner:x?batch_size=0", "batch_size"),
        ("gliner:x?", "no folder"),
        ("gliner:./nothing/here", "no folder"),
        ("gliner:x/y+gliner:x/y", "repeat"),
        ("gazetteer:x", "Unknown"),
    ],
)
def test_wrong_specs_are_one_sentence(spec, sentence, kb):
    with pytest.raises(OpenMofiError, match=sentence):
        open_detector(spec, kb)


def test_a_missing_package_is_one_sentence(model, kb, monkeypatch):
    monkeypatch.setattr(zero_shot, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="'gliner'"):
        open_detector(f"gliner:{model}{OPTIONS}", kb)


def test_an_unknown_repository_is_one_sentence(kb, monkeypatch, tmp_path):
    pytest.importorskip("gliner")
    from huggingface_hub import constants

    def refuse(*_, **__):
        raise OSError("offline")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(OpenMofiError, match="cannot be reached, and owner/name is not in the local cache"):
        open_detector("gliner:owner/name?types=bird", kb)


def test_it_is_loaded_only_where_it_is_asked_for():
    import subprocess

    code = "import sys, openmofi.mentions; print('gliner' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
