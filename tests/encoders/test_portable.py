"""Tokenizers that need neither PyTorch nor transformers give the ids of those that they stand for."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.encoders.tokens import ClipTokens, FileTokenizer, OpenClipTokens, opened_tokens
from openmofi.errors import OpenMofiError
from openmofi.plugins.export.portable import clip_tokens, portable_tokens

open_clip = pytest.importorskip("open_clip")
TEXTS = [
    "",
    "A crane, by the river!",
    "l'été &amp; &amp;lt;b&gt; 12,345 km²",
    "don't I'LL we've",
    "schÃ¶n ﬁne 東京",
    "🦩🏽",
    "<end_of_text> inside <start_of_text>",
    "x" * 500,
    "word " * 200,
    " \t\n ",
]


@pytest.fixture(scope="module")
def simple():
    return open_clip.SimpleTokenizer(context_length=32)


@pytest.fixture(scope="module")
def portable(simple):
    return clip_tokens(simple)


def test_clips_ids_are_those_of_open_clip(simple, portable, tmp_path):
    np.testing.assert_array_equal(portable(TEXTS), simple(TEXTS).numpy())
    portable.save(tmp_path)
    again = opened_tokens(json.loads(json.dumps(portable.described())), tmp_path)
    np.testing.assert_array_equal(again(TEXTS), simple(TEXTS).numpy())


@given(text=st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cn", "Cs", "Co"]), max_size=40))
def test_clips_ids_of_any_text(simple, portable, text):
    np.testing.assert_array_equal(portable([text]), simple([text]).numpy())


def test_an_export_takes_what_agrees(simple, portable):
    tokens, described = portable_tokens(OpenClipTokens(simple, False), {"kind": "tower"}, TEXTS)
    assert isinstance(tokens, ClipTokens)
    assert described["length"] == 32
    kept = OpenClipTokens(open_clip.SimpleTokenizer(context_length=32, clean="canonicalize"), False)
    assert portable_tokens(kept, {"kind": "tower"}, TEXTS) == (kept, {"kind": "tower"})


def test_a_tokenizer_of_transformers_without_transformers(tmp_path, monkeypatch):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({"[pad]": 0, "[end]": 1, "a": 2, "crane": 3, "[unk]": 4}, unk_token="[unk]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A [end]", special_tokens=[("[end]", 1)])
    theirs = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[pad]", eos_token="[end]")
    theirs.save_pretrained(str(tmp_path))
    own, texts = FileTokenizer.opened(tmp_path), ["a crane", "a " * 30, ""]
    assert (own.pad_token_id, own.eos_token_id) == (0, 1)
    assert (
        own(texts, truncation=True, max_length=5)["input_ids"]
        == theirs(texts, truncation=True, max_length=5)["input_ids"]
    )
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(OpenMofiError, match="cannot be read"):
        FileTokenizer.opened(tmp_path)
    assert "transformers" in sys.modules
