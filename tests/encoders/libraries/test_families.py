"""Checkpoints of transformers beside CLIP and SigLIP: embeddings equal the library's own.

PE-Core of open_clip: `test_openclip_weights.py`.
"""

import json
import shutil

import numpy as np
import pytest
import torch

from openmofi.encoders import open_encoder
from openmofi.encoders.towers import image_trunk
from openmofi.errors import OpenMofiError

from ..conftest import SIZE, TEXTS, WORDS, drawn_image, save_tokenizer

IMAGES = [drawn_image(50, 40, 1), drawn_image(33, 90, 2), drawn_image(32, 32, 3)]
SMALL = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {
    **SMALL,
    "vocab_size": 24,
    "max_position_embeddings": 12,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": len(WORDS) + 3,
}
VISION = {**SMALL, "image_size": SIZE, "patch_size": 8}
PROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": SIZE},
    "crop_size": {"height": SIZE, "width": SIZE},
    "resample": 3,
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
}
PATCHES = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 8, "max_num_patches": 20, "resample": 2}
FAMILIES = ("metaclip_2", "aimv2", "chinese_clip", "siglip2")


def saved(family, folder):
    """A checkpoint of a family with random weights, as its library writes it."""
    import transformers

    projected = {} if family == "siglip2" else {"projection_dim": 16}
    name = {"metaclip_2": "MetaClip2", "aimv2": "Aimv2", "chinese_clip": "ChineseCLIP", "siglip2": "Siglip2"}[family]
    vision = {**SMALL, "patch_size": 8, "num_patches": 16} if family == "siglip2" else VISION
    config = getattr(transformers, f"{name}Config")(text_config=TEXT, vision_config=vision, **projected)
    torch.manual_seed(0)
    getattr(transformers, f"{name}Model")(config).save_pretrained(folder)
    save_letters(folder) if family == "siglip2" else save_tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PATCHES if family == "siglip2" else PROCESSOR))
    return folder


def save_letters(folder):
    """SigLIP 2's own tokenizer, which lowers case; of letters."""
    from transformers import Siglip2Tokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    vocabulary = {token: row for row, token in enumerate([*special, "▁", *"abcdefghimnoprt"])}
    Siglip2Tokenizer(vocab=vocabulary, padding_side="right", model_max_length=12).save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {family: saved(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


def theirs(folder, family):
    """Embeddings by the library alone: its model, its tokenizer, its image processor."""
    from transformers import AutoModel, AutoTokenizer, Siglip2ImageProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    if family == "siglip2":
        padding = {"padding": "max_length"}
        images = Siglip2ImageProcessor.from_pretrained(folder)(IMAGES, return_tensors="pt")
    else:
        padding = {"padding": True}
        images = CLIPImageProcessorPil.from_pretrained(folder)(IMAGES, return_tensors="pt")
    texts = dict(tokenizer(TEXTS, return_tensors="pt", truncation=True, max_length=12, **padding))
    texts.pop("token_type_ids", None)
    if family == "siglip2":
        texts.pop("attention_mask")
    with torch.inference_mode():
        found = model(**texts, **images)
    return found.image_embeds.numpy(), found.text_embeds.numpy(), model


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_equal_the_librarys_own(family, folders):
    encoder = open_encoder(f"hf:{folders[family]}")
    images, texts, model = theirs(folders[family], family)
    assert np.abs(encoder.embed_images(IMAGES) - images).max() < 1e-5
    assert np.abs(encoder.embed_texts(TEXTS) - texts).max() < 1e-5
    assert np.abs(encoder.embed_texts([text.upper() for text in TEXTS]) - texts).max() < 1e-5 or family != "siglip2"
    assert encoder.dim == images.shape[1]
    assert encoder.logit_scale == pytest.approx(model.logit_scale.detach().exp().item())


def test_naflex_reads_what_its_processor_says(folders, tmp_path):
    first = open_encoder(f"hf:{folders['siglip2']}")
    shutil.copytree(folders["siglip2"], copy := tmp_path / "more")
    path = copy / "preprocessor_config.json"
    path.write_text(json.dumps({**PATCHES, "max_num_patches": 30, "auto_map": {"AutoImageProcessor": "evil.Evil"}}))
    more = open_encoder(f"hf:{copy}")
    assert more.feature_fingerprint != first.feature_fingerprint
    assert np.abs(more.embed_images(IMAGES) - first.embed_images(IMAGES)).max() > 1e-4
    for change, says in (({"patch_size": 4}, "4 px; the model takes 8 px"), ({"max_num_patches": 0}, "not 1 to")):
        path.write_text(json.dumps({**PATCHES, **change}))
        with pytest.raises(OpenMofiError, match=says):
            open_encoder(f"hf:{copy}")


def test_a_label_job_takes_naflex(folders, small_world, tmp_path):
    """Images of all shapes go through the feature store; its pickle is its recipe."""
    import pickle

    import openmofi

    encoder = open_encoder(f"hf:{folders['siglip2']}")
    assert pickle.loads(pickle.dumps(encoder)).fingerprint == encoder.fingerprint
    labels = openmofi.label(
        small_world.shards, kb=small_world.kb, encoder=encoder, out=tmp_path / "labels", progress=False
    )
    assert labels.summary["rows_in"] == labels.summary["rows_out"] == 320
    assert labels.summary["calibration"]["blind"]


def test_towers_of_other_families_are_refused_for_training(folders):
    with pytest.raises(OpenMofiError, match=r"'metaclip_2' model; hf: opens 'clip', 'siglip' here"):
        image_trunk(f"hf:{folders['metaclip_2']}")


@pytest.mark.slow
def test_an_export_agrees(folders, tmp_path):
    import openmofi

    spec = f"hf:{folders['metaclip_2']}"
    openmofi.export(spec, out=tmp_path / "onnx", format="onnx")
    exported = open_encoder(f"onnx:{tmp_path / 'onnx'}")
    assert np.abs(exported.embed_texts(TEXTS) - open_encoder(spec).embed_texts(TEXTS)).max() < 1e-4


@pytest.mark.parametrize("family", ["aimv2", "chinese_clip", "siglip2"])
def test_what_no_export_would_compute_is_not_exported(family, folders, tmp_path):
    import openmofi

    with pytest.raises(OpenMofiError, match="has no networks of PyTorch"):
        openmofi.export(f"hf:{folders[family]}", out=tmp_path / "onnx", format="onnx")
    assert not (tmp_path / "onnx").exists()
