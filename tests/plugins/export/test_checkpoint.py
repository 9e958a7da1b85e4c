"""Checkpoints open by their libraries alone, and embed images from file to vector as the encoder does here."""

import json

import numpy as np
import open_clip
import pytest
import timm
import torch
import yaml
from huggingface_hub import ModelCard
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification, AutoTokenizer

from openmofi.encoders import open_encoder
from openmofi.encoders.folder import save_heads
from openmofi.encoders.heads import Head
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.export import ExportSettings
from openmofi.plugins.export.agreement import Samples
from openmofi.plugins.export.checkpoint import CARD, OUTPUTS, CardFacts, Metric, export_checkpoint, read_metrics
from openmofi.plugins.export.sides import Affine

from ...encoders.conftest import SIZE, TEXTS, drawn_image

SAMPLES = Samples("test images", [drawn_image(40 + seed, 50, seed) for seed in range(6)], TEXTS, paired=False)
IMAGES = [drawn_image(61, 44, 7), drawn_image(35, 80, 8)]
EXACT = 1e-4  # of vectors of length 1, from the same pixels
CLOSE = 1e-3  # 1 - cosine, from the same images: libraries round resized pixels, transformers by torchvision


def headed(base, folder, dim=12, *, text=True, bias=0.5, **options):
    """Random heads with a bias on `base`, standardising its features first."""
    draw = np.random.default_rng(3)

    def head(size):
        made = Head.initial(
            size, dim, seed=size, mean=draw.normal(size=size), std=draw.uniform(0.5, 2, size), **options
        )
        return Head({**made.parameters, "bias": draw.normal(size=dim).astype(np.float32) * bias})

    save_heads(
        folder,
        base=base,
        image_head=head(base.feature_dim),
        logit_scale=20.0,
        settings={},
        text_head=head(base.text_feature_dim) if text else None,
    )
    return open_encoder(f"run:{folder}")


def vectors(tensor):
    tensor = getattr(tensor, "pooler_output", tensor)
    return torch.nn.functional.normalize(tensor.detach(), dim=-1).numpy()


def check_images(encoder, embed, preprocess):
    """A library's model gives the encoder's vectors of the same pixels, and with its own preprocessing nearly."""
    expected = encoder.embed_images(IMAGES)
    pixels = torch.from_numpy(np.stack([encoder.preprocess(image) for image in IMAGES]))
    with torch.no_grad():
        assert np.abs(vectors(embed(pixels)) - expected).max() < EXACT
        assert (1 - (vectors(embed(preprocess(IMAGES))) * expected).sum(1)).max() < CLOSE


def stacked(transform):
    return lambda images: torch.stack([transform(image) for image in images])


def processed(processor):
    return lambda images: processor(images=images, return_tensors="pt")["pixel_values"]


def export(encoder, folder, style, facts=CardFacts()):
    return export_checkpoint(encoder, folder, ExportSettings(style), SAMPLES, facts)


@pytest.fixture(scope="module")
def clip(tiny_open_clip):
    return open_encoder(f"open_clip:{tiny_open_clip[0]}/{tiny_open_clip[1]}")


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return open_encoder("timm:test_vit/none?seed=3")


@pytest.mark.parametrize("heads", [False, True])
def test_open_clip(clip, tmp_path, heads):
    encoder = headed(clip, tmp_path / "heads") if heads else clip
    assert export(encoder, tmp_path / "out", "open_clip").loss < 1e-4
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'out'}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'out'}")
    check_images(encoder, model.eval().encode_image, stacked(transform))
    assert np.abs(vectors(model.encode_text(tokenizer(TEXTS))) - encoder.embed_texts(TEXTS)).max() < 1e-4
    assert float(model.logit_scale.detach().exp()) == pytest.approx(encoder.logit_scale)
    again = open_encoder(f"open_clip:local-dir:{tmp_path / 'out'}")
    assert np.abs(again.embed_images(IMAGES) - encoder.embed_images(IMAGES)).max() < 1e-4


@pytest.mark.parametrize("heads", [False, True])
def test_transformers_clip(clip_folder, tmp_path, heads):
    base = open_encoder(f"hf:{clip_folder}")
    encoder = headed(base, tmp_path / "heads") if heads else base
    export(encoder, tmp_path / "out", "transformers")
    model, processor, tokenizer = (
        kind.from_pretrained(tmp_path / "out") for kind in (AutoModel, AutoImageProcessor, AutoTokenizer)
    )
    check_images(encoder, model.get_image_features, processed(processor))
    found = vectors(model.get_text_features(**tokenizer(TEXTS, padding=True, return_tensors="pt")))
    assert np.abs(found - encoder.embed_texts(TEXTS)).max() < 1e-4
    assert float(model.logit_scale.detach().exp()) == pytest.approx(encoder.logit_scale, rel=1e-4)
    assert np.abs(base.embed_images(IMAGES) - open_encoder(f"hf:{clip_folder}").embed_images(IMAGES)).max() == 0


def test_transformers_siglip(siglip_folder, tmp_path):
    encoder = open_encoder(f"hf:{siglip_folder}")
    export(encoder, tmp_path / "out", "transformers")
    model, processor = (kind.from_pretrained(tmp_path / "out") for kind in (AutoModel, AutoImageProcessor))
    check_images(encoder, model.get_image_features, processed(processor))
    with pytest.raises(UsageError, match="no projection that a head folds into"):
        export(headed(encoder, tmp_path / "heads"), tmp_path / "no", "transformers")


@pytest.mark.parametrize("heads", [False, True])
def test_transformers_dinov2(tmp_path, heads):
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    Dinov2Model(
        Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=SIZE, patch_size=8)
    ).save_pretrained(tmp_path / "dino")
    (tmp_path / "dino" / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "BitImageProcessor",
                "size": {"shortest_edge": 40},
                "resample": 3,
                "crop_size": {"height": SIZE, "width": SIZE},
                "image_mean": [0.5] * 3,
                "image_std": [0.25] * 3,
            }
        )
    )
    encoder = open_encoder(f"hf:{tmp_path / 'dino'}")
    if heads:
        encoder = headed(encoder, tmp_path / "heads", text=False)
    export(encoder, tmp_path / "out", "transformers")
    kind = AutoModelForImageClassification if heads else AutoModel
    model, processor = kind.from_pretrained(tmp_path / "out"), AutoImageProcessor.from_pretrained(tmp_path / "out")
    check_images(encoder, lambda pixels: model(pixels).logits if heads else model(pixels), processed(processor))


@pytest.mark.parametrize("heads", [False, True])
def test_timm(vit, tmp_path, heads):
    encoder = headed(vit, tmp_path / "heads", text=False) if heads else vit
    export(encoder, tmp_path / "out", "timm")
    by_folder = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    by_name = timm.create_model(
        "test_vit",
        pretrained=True,
        num_classes=config["num_classes"],
        pretrained_cfg_overlay={
            "file": str(tmp_path / "out" / "model.safetensors"),
            "num_classes": config["num_classes"],
            "custom_load": False,
        },
    )
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(by_folder))
    for model in (by_folder, by_name):
        check_images(encoder, model.eval(), stacked(transform))


def test_a_convolutional_tower_of_timm_with_a_head(tmp_path):
    encoder = headed(open_encoder("timm:test_efficientnet/none?seed=1"), tmp_path / "heads", text=False)
    assert export(encoder, tmp_path / "out", "timm").loss < 1e-4


def test_the_card_is_read_by_the_hub(clip, tmp_path):
    (tmp_path / "result.json").write_text(
        json.dumps(
            {
                "protocol": "gpr1200",
                "headline": "gpr1200/map",
                "metrics": {"gpr1200/map": 0.75},
                "data": {"path": "x/gpr"},
                "intervals": {"gpr1200/map": [0.7, 0.8]},
            }
        )
    )
    facts = CardFacts("tiny", "apache-2.0", ("shapes",), ("By OpenMOFI.",), read_metrics([tmp_path / "result.json"]))
    assert facts.metrics == (Metric("gpr1200", "gpr", "gpr1200/map", 0.75, (0.7, 0.8)),)
    export(clip, tmp_path / "out", "open_clip", facts)
    card = ModelCard.load(tmp_path / "out" / CARD)
    assert (card.data.license, card.data.library_name, card.data.datasets) == ("apache-2.0", "open_clip", ["shapes"])
    assert [(result.metric_value, result.dataset_name) for result in card.data.eval_results] == [(0.75, "gpr")]
    assert yaml.safe_load((tmp_path / "out" / CARD).read_text().split("---")[1])["model-index"]
    assert "0.7000–0.8000" in card.text
    assert "By OpenMOFI." in card.text
    (tmp_path / "bad.json").write_text('{"headline": 3}')
    with pytest.raises(OpenMofiError, match=r"bad\.json cannot be read"):
        read_metrics([tmp_path / "bad.json"])


def test_every_file_is_declared_and_the_export_is_not_made_twice(clip_folder, tmp_path, monkeypatch):
    encoder = open_encoder(f"hf:{clip_folder}")
    first = export(encoder, tmp_path / "out", "transformers")
    kept = {path.name for path in OUTPUTS.files(tmp_path / "out")}
    assert {path.name for path in (tmp_path / "out").iterdir() if path.name[0] != "."} == kept | {"manifest.json"}
    monkeypatch.setattr("openmofi.plugins.export.transformers.write", lambda *_: pytest.fail("again"))
    assert export(encoder, tmp_path / "out", "transformers") == first
    with pytest.raises(OpenMofiError, match=r"other settings|was made"):
        export(encoder, tmp_path / "out", "transformers", CardFacts("another"))


def test_what_embeds_otherwise_is_not_written(clip, tmp_path, monkeypatch):
    import openmofi.plugins.export.openclip as library

    monkeypatch.setattr(library, "_preprocess", lambda _: {"size": [SIZE, SIZE], "mean": [0, 0, 0], "std": [9, 9, 1]})
    with pytest.raises(OpenMofiError, match="nothing was written"):
        export(clip, tmp_path / "out", "open_clip")
    assert not any(path.name[0] != "." for path in (tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("style", "spec", "says"),
    [
        ("timm", "clip", "no model of timm"),
        ("transformers", "clip", "no tower of the kind 'open_clip'"),
        ("open_clip", "vit", "no text side"),
    ],
)
def test_towers_of_another_library_are_refused(clip, vit, tmp_path, style, spec, says):
    with pytest.raises(UsageError, match=says):
        export({"clip": clip, "vit": vit}[spec], tmp_path / "out", style)


def test_heads_that_do_not_fold_are_refused(clip, tmp_path):
    with pytest.raises(UsageError, match="hidden layer"):
        export(headed(clip, tmp_path / "mlp", hidden=4), tmp_path / "out", "open_clip")
    parts = {"weight": np.eye(4, dtype=np.float32), "bias": np.zeros(4, np.float32), "parts": np.array([2.0])}
    parts |= {"gate": np.zeros(4, np.float32), "gate_bias": np.zeros(1, np.float32)}
    with pytest.raises(UsageError, match="two parts"):
        Affine.of(Head(parts), adapter=False)
    with pytest.raises(UsageError, match="more dimensions"):
        export(headed(clip, tmp_path / "wide", dim=40), tmp_path / "out", "open_clip")
    with pytest.raises(UsageError, match="fp32"):
        ExportSettings("timm", "int8")
