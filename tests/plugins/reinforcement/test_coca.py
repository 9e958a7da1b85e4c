"""CoCa as a captioner: against greedy and nucleus sampling by transformers' own warper, turns, what is refused."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.reinforcement import ReinforceSettings, captioner
from openmofi.plugins.reinforcement.captioner import captioner_fingerprint, open_captioners
from openmofi.plugins.reinforcement.coca import _END, _LEAST, _MASS, _MOST, _START, _sampled, open_coca
from openmofi.plugins.reinforcement.reinforce_settings import TeacherSpec

ARCH = "coca_tiny"
SIZES = {"width": 32, "heads": 2, "layers": 1}
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "patch_size": 16,
        "width": 32,
        "head_width": 16,
        "layers": 1,
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "output_tokens": True,
    },
    "text_cfg": {"context_length": 76, "vocab_size": 49408, "embed_cls": True, "output_tokens": True, **SIZES},
    "multimodal_cfg": {"context_length": 76, "vocab_size": 49408, "attn_pooler_heads": 2, **SIZES},
    "custom_text": True,
}
IMAGES = [
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)),
    Image.new("RGB", (30, 60), "red"),
    Image.new("RGB", (60, 30), "blue"),
]


@pytest.fixture
def spec(monkeypatch, tmp_path):
    """The spec of a small CoCa whose captions depend on the image."""
    import open_clip.factory as factory

    monkeypatch.setitem(factory._MODEL_CONFIGS, ARCH, CONFIG)
    model, generator = open_clip.create_model(ARCH), torch.Generator().manual_seed(0)
    with torch.no_grad():  # open_clip leaves some as memory was
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    save_file(model.state_dict(), tmp_path / "coca.safetensors")
    return f"open_clip:{ARCH}/{tmp_path}/coca.safetensors"


@pytest.mark.slow
def test_equal_images_get_equal_texts_which_differ_among_themselves(spec):
    written = open_captioners(spec)([*IMAGES, IMAGES[0]], 2)
    assert [len(texts) for texts in written] == [2, 2, 2, 2]
    assert written[0] == written[3]
    assert len({text for texts in written for text in texts}) == 6
    assert open_captioners(spec)([*IMAGES, IMAGES[0]], 2) == written
    assert open_captioners(spec)([], 2) == []
    assert open_captioners(spec)(IMAGES[:1], 0) == [[]]


@pytest.mark.slow
def test_a_text_is_one_sentence_of_at_most_thirty_tokens(spec):
    for texts in open_captioners(spec)(IMAGES, 3):
        for text in texts:
            assert "." not in text
            assert "_of_text" not in text
            assert len(open_clip.tokenizer._tokenizer.encode(text)) <= 2 * _MOST  # cut within a word, it splits anew


def test_the_pixels_are_those_that_open_clip_would_take(spec):
    opened = open_coca(spec.removeprefix("open_clip:"), "cpu")
    _, _, transform = open_clip.create_model_and_transforms(ARCH)
    from openmofi.encoders.preprocess import preprocess

    for image in IMAGES:
        np.testing.assert_allclose(preprocess(image, opened.preprocessing), transform(image).numpy(), atol=1e-5)


VOCABULARY = _END + 1


@pytest.mark.slow
def test_tokens_are_drawn_from_the_nucleus_that_transformers_keeps():
    from transformers.generation.logits_process import TopPLogitsWarper

    shares = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(1)).mul(3).softmax(1)
    shares[:, _END] = 0
    kept = TopPLogitsWarper(_MASS)(torch.zeros(1, 1, dtype=torch.long), shares.log())
    nucleus = kept.softmax(1)[0].double()
    rows = 100
    draws = np.random.default_rng(2).random((rows, _MOST))
    over = torch.zeros(rows, VOCABULARY)
    over[:, [7, _END]] = torch.tensor([1e-9, 1.0])
    texts = _sampled(
        lambda text, _: shares.repeat(len(text), 1) if text.shape[1] == 1 else over[: len(text)].clone(),
        torch.zeros(rows, dtype=torch.long),
        draws,
        "cpu",
    )
    first = torch.stack([text[1] for text in texts])
    assert (nucleus[first] > 0).all()
    # The inverse of the distribution function.
    places = np.searchsorted(nucleus.cumsum(0).numpy(), draws[:, 1], "right")
    assert (first == torch.from_numpy(places)).float().mean() >= 0.98  # sums in another precision


def test_nothing_is_written_after_the_end_and_nothing_ends_too_early():
    ends = torch.zeros(1, VOCABULARY)
    ends[0, [_END, 7]] = torch.tensor([0.95, 0.05])
    texts = _sampled(
        lambda text, _: ends.repeat(len(text), 1).clone(),
        torch.tensor([0, 0]),
        np.full((2, _MOST), 0.1),
        "cpu",
    )
    for text in texts:
        assert text.tolist() == [_START, *[7] * (_LEAST - 1), _END]


def test_captioners_take_turns(monkeypatch):
    def opened(spec, _device):
        return lambda images, count: [[f"{spec}{row}{number}" for number in range(count)] for row in range(len(images))]

    monkeypatch.setattr(captioner, "_opened", opened)
    assert open_captioners("a,b")(IMAGES[:2], 3) == [["a00", "b00", "a01"], ["a10", "b10", "a11"]]
    assert open_captioners("a,b,c")(IMAGES[:1], 4) == [["a00", "b00", "c00", "a01"]]
    assert open_captioners("a,b")([], 2) == []


def test_the_fingerprint_is_that_of_the_weights(spec, tmp_path):
    before = captioner_fingerprint(spec)
    assert captioner_fingerprint(spec) == before
    assert captioner_fingerprint(f"{spec},{spec}") != before
    model = open_clip.create_model(ARCH)
    save_file(model.state_dict(), tmp_path / "coca.safetensors")
    assert captioner_fingerprint(spec) != before


def test_what_writes_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="writes no captions"):
        open_captioners("open_clip:ViT-B-32/none?seed=0")
    with pytest.raises(UsageError, match="no architecture"):
        open_captioners("open_clip:coca_none/none?seed=0")
    with pytest.raises(OpenMofiError):
        open_captioners(f"open_clip:coca_ViT-B-32/{tmp_path}/none.safetensors")


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("text_cfg", {"vocab_size": 100}),
        ("text_cfg", {"context_length": 20}),
        ("multimodal_cfg", {"context_length": 8}),
    ],
)
def test_a_folder_of_others_with_another_vocabulary_or_shorter_texts_is_refused(part, changed, tmp_path):
    config = {**CONFIG, part: CONFIG[part] | changed}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="writes no captions in CLIP's tokens"):
        open_captioners(f"open_clip:local-dir:{tmp_path}")


def test_weights_that_give_no_numbers_write_nothing(spec, tmp_path):
    path, name = tmp_path / "coca.safetensors", "text_decoder.text_projection"
    weights = load_file(path)
    save_file(weights | {name: torch.full_like(weights[name], torch.nan)}, path)
    with pytest.raises(OpenMofiError, match="not finite"):
        open_captioners(spec)(IMAGES[:1], 1)


def test_more_captioners_than_texts_are_refused():
    teacher = (TeacherSpec("a", 50.0),)
    with pytest.raises(UsageError, match="2 captioners cannot take turns at 1"):
        ReinforceSettings(teacher, captioner="hf:a,open_clip:b", captions=1)
    assert ReinforceSettings(teacher, captioner="hf:a,open_clip:b", captions=2).captions == 2
    for wrong in ("hf:a,", ",hf:a", "hf:a,,hf:b", "open_clip:"):
        with pytest.raises(UsageError):
            ReinforceSettings(teacher, captioner=wrong)
