"""MOFI's released layout: on a tiny random checkpoint of it, and, where the real one is here, the published cosines."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openmofi.encoders import open_encoder
from openmofi.errors import UsageError

from ..conftest import drawn_image

SIZE, LENGTH = 32, 16
TEXTS = ["a photo of a poodle", "Siberian husky", "a cat, on a mat", "two", "a photo of a poodle", "long " * 40]
IMAGES = [drawn_image(50, 40, 1), drawn_image(33, 70, 2), drawn_image(32, 32, 3)]


def save_tokenizer(folder: Path, *, opt: bool) -> tuple[int, int, int, int]:
    """A byte-level tokenizer with special tokens of its own: size of the vocabulary, ids of bos, eos and pad.

    With `opt` in the files that OPT has (vocab.json, merges.txt), which put no end; else as one tokenizer.json.
    """
    from tokenizers import ByteLevelBPETokenizer, processors
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXTS, vocab_size=300, min_frequency=1, special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    size = bpe.get_vocab_size()
    bos, eos, names = size, size + 1, {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "pad_token": "<pad>"}
    if opt:
        folder.mkdir(parents=True, exist_ok=True)
        bpe.save_model(str(folder))
        words = json.loads((folder / "vocab.json").read_text()) | {"<|bos|>": bos, "<|eos|>": eos}
        (folder / "vocab.json").write_text(json.dumps(words))
        (folder / "tokenizer_config.json").write_text(
            json.dumps(
                {
                    "tokenizer_class": "GPT2Tokenizer",
                    "add_bos_token": True,
                    "unk_token": "<unk>",
                    "model_max_length": LENGTH,
                    "errors": "replace",
                    **names,
                }
            )
        )
    else:
        bpe.add_special_tokens(["<|bos|>", "<|eos|>"])
        bpe._tokenizer.post_processor = processors.TemplateProcessing(
            single="<|bos|> $A <|eos|>", special_tokens=[("<|bos|>", bos), ("<|eos|>", eos)]
        )
        fast = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, model_max_length=LENGTH, **names)
        fast.save_pretrained(folder)
    return size + 2, bos, eos, 1


def save_mofi(folder: Path, *, opt: bool = False) -> Path:
    """A CLIPModel and such a tokenizer; no logit scale, no preprocessing."""
    from safetensors.torch import load_file, save_file
    from transformers import CLIPConfig, CLIPModel

    size, bos, eos, pad = save_tokenizer(folder, opt=opt)
    text = {
        "vocab_size": size,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": LENGTH,
        "hidden_act": "gelu_new",
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": pad,
    }
    vision = {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIZE,
        "patch_size": 8,
        "hidden_act": "gelu_new",
    }
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    del weights["logit_scale"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def mofi_folder(tmp_path_factory):
    return save_mofi(tmp_path_factory.mktemp("mofi"))


@pytest.fixture(scope="module")
def opt_folder(tmp_path_factory):
    return save_mofi(tmp_path_factory.mktemp("mofi-opt"), opt=True)


def published_pixels(images):
    """The published recipe, step by step, with torchvision."""
    from torchvision.transforms import v2

    steps = [
        v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
        v2.Resize(SIZE, v2.InterpolationMode.BILINEAR, antialias=False),
        v2.CenterCrop(SIZE),
        v2.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ]
    found = []
    for image in images:
        values = image.convert("RGB")
        for step in steps:
            values = step(values)
        found.append(values)
    return torch.stack(found)


def published_ids(folder, texts):
    """Ids alone, cut, closed by the end token and padded, by the folder's own tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    bos, eos, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"][: LENGTH - 2] for text in texts]
    return torch.tensor([[bos, *row, eos] + [pad] * (LENGTH - 2 - len(row)) for row in rows])


def of_transformers(folder, pixels, ids):
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = [model.get_image_features(pixel_values=pixels), model.get_text_features(input_ids=ids)]
    return [(one if isinstance(one, torch.Tensor) else one.pooler_output).numpy() for one in found]


@pytest.mark.parametrize("layout", ["mofi_folder", "opt_folder"])
def test_features_equal_transformers_own_by_the_published_recipe(layout, request):
    mofi_folder = request.getfixturevalue(layout)
    encoder = open_encoder(f"mofi:{mofi_folder}")
    pixels = published_pixels(IMAGES)
    ours = np.stack([encoder.preprocess(image) for image in IMAGES])
    assert np.abs(ours - pixels.numpy()).max() < 1e-5
    images, texts = of_transformers(mofi_folder, pixels, published_ids(mofi_folder, TEXTS))
    assert np.abs(encoder.image_features(ours) - images).max() < 1e-5
    assert np.abs(encoder.text_features(TEXTS) - texts).max() < 1e-5
    assert np.abs(texts[0] - texts[1]).max() > 0.1


def test_grey_and_transparent_images_become_rgb(mofi_folder):
    encoder = open_encoder(f"mofi:{mofi_folder}")
    grey = IMAGES[0].convert("L")
    assert np.array_equal(encoder.preprocess(grey), encoder.preprocess(grey.convert("RGB")))


def test_the_logit_scale_is_unknown(mofi_folder, caplog):
    with caplog.at_level(logging.WARNING):
        encoder = open_encoder(f"mofi:{mofi_folder}/")
    assert "no logit scale" in caplog.text
    assert encoder.logit_scale is None
    assert encoder.describe()["logit_scale"] is None
    assert encoder.describe()["preprocessing"]["antialias"] is False


def test_the_preset_is_the_flag(mofi_folder):
    ours, flagged = open_encoder(f"mofi:{mofi_folder}"), open_encoder(f"hf:{mofi_folder}?preprocessing=mofi")
    assert ours.preprocessing == flagged.preprocessing
    assert np.abs(ours.embed_texts(TEXTS) - flagged.embed_texts(TEXTS)).max() < 1e-5
    with pytest.raises(UsageError, match="takes no options"):
        open_encoder(f"mofi:{mofi_folder}?preprocessing=clip")


def test_an_end_that_the_tokenizer_leaves_out_is_added_and_said(mofi_folder, opt_folder, caplog):
    with caplog.at_level(logging.WARNING):
        open_encoder(f"mofi:{mofi_folder}/.")
        assert "does not end texts" not in caplog.text
        found = open_encoder(f"mofi:{opt_folder}/.").text_features(TEXTS)
    assert "does not end texts" in caplog.text
    # Otherwise the model would read every text at its first token, the same for all.
    assert np.abs(found[0] - found[1]).max() > 0.1


CHECKPOINT, PICTURES = "OPENMOFI_MOFI_H14", "OPENMOFI_MOFI_PICTURES"
NAMES = ("poodle", "husky", "cat")


def test_published_cosines_of_h14():
    """Images are poodle.*, husky.*, cat.*; captions.json has their published captions, by these names."""
    if not os.environ.get(CHECKPOINT) or not os.environ.get(PICTURES):
        pytest.skip(
            f"needs {CHECKPOINT} (the folder of apple/mofi-h14-hf) and {PICTURES} (a folder with poodle.*, "
            "husky.*, cat.* and captions.json)"
        )
    encoder, folder = open_encoder(f"mofi:{os.environ[CHECKPOINT]}"), Path(os.environ[PICTURES])
    captions = json.loads((folder / "captions.json").read_text())
    files = [next(folder.glob(f"{name}.*")) for name in NAMES]
    images = encoder.project_images(
        encoder.image_features(np.stack([encoder.preprocess(Image.open(file).convert("RGB")) for file in files]))
    )
    cosines = images @ images.T
    assert [cosines[0, 1], cosines[0, 2], cosines[1, 2]] == pytest.approx([0.2638, 0.0819, 0.1930], abs=2e-3)
    diagonal = (images * encoder.embed_texts([captions[name] for name in NAMES])).sum(1)
    assert diagonal == pytest.approx([0.2025, 0.2019, 0.1867], abs=2e-3)
