"""Synthetic texts: of entities, and of a tiny captioner that the test writes itself."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from openmofi.errors import OpenMofiError
from openmofi.knowledge.texts import CAPTION_TEMPLATES
from openmofi.plugins.reinforcement import ReinforceSettings, reinforce
from openmofi.plugins.reinforcement.augmentation import drawing
from openmofi.plugins.reinforcement.captioner import captioner_fingerprint, entity_captions, open_captioners
from openmofi.schema import Entity

CRANE = Entity("e:crane", "crane", "large wading bird", ("noun.animal",))
WORDS = ["a", "photo", "of", "the", "crane", "bird", "red", "two"]


def test_texts_are_drawn_from_templates_without_repeating():
    found = entity_captions([CRANE], len(CAPTION_TEMPLATES), drawing(0, "s", "k", -1))
    assert sorted(found) == sorted(
        template.format(name="crane", description="large wading bird", type="animal") for template in CAPTION_TEMPLATES
    )
    assert entity_captions([CRANE], 2, drawing(0, "s", "k", -1)) == found[:2]


def test_templates_need_what_they_name():
    assert set(entity_captions([Entity("e", "crane")], 3, drawing(0, "s", "k", -1))) == {"a photo of crane"}
    assert entity_captions([], 2, drawing(0, "s", "k", -1)) == []


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        GPT2Config,
        PreTrainedTokenizerFast,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessor,
    )

    folder = tmp_path_factory.mktemp("captioner")
    vocabulary = {word: row for row, word in enumerate(["<pad>", "<bos>", "<eos>", *WORDS])}
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTConfig(image_size=32, patch_size=16, **sizes),
        GPT2Config(
            vocab_size=len(vocabulary),
            n_embd=16,
            n_layer=1,
            n_head=2,
            n_positions=64,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        ),
    )
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    torch.manual_seed(3)
    model = VisionEncoderDecoderModel(config)
    # Larger weights, so that what it says depends on the image.
    for parameter in model.parameters():
        parameter.data.mul_(8)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<pad>"
    ).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_a_captioner_writes_as_many_texts_as_wanted(checkpoint):
    captioner = open_captioners(f"hf:{checkpoint}")
    draw = np.random.default_rng(0)
    images = [Image.fromarray(draw.integers(0, 256, (40, 50, 3), np.uint8)), Image.new("RGB", (30, 60), "red")]
    found = captioner(images, 3)
    assert [len(texts) for texts in found] == [3, 3]
    assert {word for texts in found for text in texts for word in text.split()} <= set(WORDS)
    assert captioner(images, 3) == found
    assert captioner([], 3) == []


def test_captioners_that_cannot_be_read_are_refused(checkpoint, tmp_path):
    with pytest.raises(OpenMofiError, match="does not exist"):
        open_captioners(f"hf:{tmp_path}/none")
    for path in checkpoint.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(OpenMofiError, match="safetensors"):
        open_captioners(f"hf:{tmp_path}")
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(OpenMofiError, match="cannot be loaded"):
        open_captioners(f"hf:{tmp_path}")
    assert captioner_fingerprint(f"hf:{tmp_path}") != captioner_fingerprint(f"hf:{checkpoint}")


@pytest.mark.slow
def test_a_store_with_a_captioners_texts(shards, teachers, labelled, checkpoint, tmp_path):
    settings = ReinforceSettings(teachers, augmentations=1, size=32, captioner=f"hf:{checkpoint}")
    reinforce(shards[:1], labelled, tmp_path / "out", settings)
    reinforce(shards[:1], labelled, tmp_path / "again", settings)
    files = [tmp_path / name / f"samples/{shards[0].name}.arrow" for name in ("out", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()
    rows = [row for row in pa.ipc.open_file(files[0]).read_all().to_pylist() if row["status"] == "ok"]
    assert all(len(row["texts"]) == 2 and all(row["texts"]) for row in rows)
