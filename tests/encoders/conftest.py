"""Tiny checkpoints with random weights, written by the tests themselves: no network, no fixtures in the repository."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

WORDS = ["a", "photo", "of", "the", "crane", "bird", "machine", "apple", "fruit", "brand", "on", "in", "red", "two"]
TEXTS = ["a photo of the crane bird", "apple", "the red fruit on a machine", "two", "apple"]
SIZE = 32


def drawn_image(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth image with some noise, so that filters and crops both show."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(rows / (5 + c)) + np.cos(columns / (7 - c)) for c in range(3)], axis=-1)
    values = 127 + 50 * waves + random.normal(0, 12, (height, width, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def save_tokenizer(folder: Path, names: list[str] | None = None, length: int = 12) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: row for row, word in enumerate(["<pad>", "<unk>", "<bos>", *WORDS, "<eos>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", vocabulary["<bos>"]), ("<eos>", vocabulary["<eos>"])]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        model_max_length=length,
        model_input_names=names or ["input_ids", "attention_mask"],
    )
    fast.save_pretrained(folder)


def save_clip(folder: Path, *, names: list[str] | None = None, preprocessor: dict | None = None) -> Path:
    from transformers import CLIPConfig, CLIPModel

    size = len(WORDS) + 4
    text = {
        "vocab_size": size,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 12,
        "projection_dim": 16,
        "bos_token_id": 2,
        "eos_token_id": size - 1,
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIZE,
        "patch_size": 8,
        "projection_dim": 16,
    }
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    save_tokenizer(folder, names)
    settings = preprocessor or {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": SIZE},
        "resample": 3,
        "crop_size": {"height": SIZE, "width": SIZE},
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def save_siglip(folder: Path) -> Path:
    from transformers import SiglipConfig, SiglipModel

    text = {
        "vocab_size": len(WORDS) + 4,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 12,
        "projection_size": 24,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": len(WORDS) + 3,
    }
    vision = {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIZE,
        "patch_size": 8,
    }
    torch.manual_seed(1)
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    save_tokenizer(folder, ["input_ids"])
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "SiglipImageProcessor",
                "size": {"height": SIZE, "width": SIZE},
                "resample": 3,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
            }
        )
    )
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory):
    return save_siglip(tmp_path_factory.mktemp("siglip"))


@pytest.fixture(scope="session")
def tiny_open_clip(tmp_path_factory):
    """(architecture, weights file) of an open_clip model small enough for a test."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("open_clip")
    (folder / "openmofi-tiny.json").write_text(
        json.dumps(
            {
                "embed_dim": 16,
                "vision_cfg": {"image_size": SIZE, "layers": 1, "width": 64, "patch_size": 16},
                "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
            }
        )
    )
    open_clip.add_model_config(folder)
    torch.manual_seed(2)
    save_file(open_clip.create_model("openmofi-tiny").state_dict(), folder / "weights.safetensors")
    return "openmofi-tiny", folder / "weights.safetensors"
