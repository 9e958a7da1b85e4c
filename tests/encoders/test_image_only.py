import json
import pickle
import shutil

import numpy as np
import pytest
import torch

from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError, UsageError

from .conftest import drawn_image

IMAGES = [drawn_image(50, 40, 1), drawn_image(33, 70, 2), drawn_image(64, 64, 3)]
DINOV2_FILE = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 32},
    "resample": 3,
    "crop_size": {"height": 28, "width": 28},
    "do_center_crop": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
DINOV3_FILE = {
    "image_processor_type": "DINOv3ViTImageProcessorFast",
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "crop_size": None,
    "do_center_crop": None,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def save_dino(folder, kind="dinov2"):
    """A tiny one with random weights, trained at another size than it is used at."""
    from transformers import Dinov2Config, Dinov2Model, DINOv3ViTConfig, DINOv3ViTModel

    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    if kind == "dinov2":
        Dinov2Model(Dinov2Config(**sizes, image_size=42, patch_size=14)).save_pretrained(folder)
    else:
        DINOv3ViTModel(
            DINOv3ViTConfig(**sizes, intermediate_size=32, image_size=48, patch_size=16, num_register_tokens=2)
        ).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(DINOV2_FILE if kind == "dinov2" else DINOV3_FILE))
    return folder


def pixels_of(encoder):
    return np.stack([encoder.preprocess(image) for image in IMAGES])


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory):
    return save_dino(tmp_path_factory.mktemp("dinov2"))


@pytest.mark.parametrize("kind", ["dinov2", "dinov3"])
def test_dino_equals_transformers_own(tmp_path, kind):
    from transformers import AutoModel

    folder = save_dino(tmp_path / kind, kind)
    encoder = open_encoder(f"hf:{folder}")
    pixels = pixels_of(encoder)
    assert pixels.shape == (3, 3, *((28, 28) if kind == "dinov2" else (32, 32)))
    with torch.inference_mode():
        states = AutoModel.from_pretrained(folder).eval()(pixel_values=torch.from_numpy(pixels))
    expected = states.last_hidden_state[:, 0].numpy()
    assert np.abs(encoder.image_features(pixels) - expected).max() < 1e-5
    assert encoder.dim == encoder.feature_dim == 24
    assert np.allclose(np.linalg.norm(encoder.project_images(expected), axis=1), 1, atol=1e-5)


def test_dino_preprocessing_equals_its_processor(dino_folder):
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    expected = BitImageProcessorPil.from_pretrained(dino_folder)(IMAGES, return_tensors="np")["pixel_values"]
    assert np.abs(pixels_of(open_encoder(f"hf:{dino_folder}")) - expected).max() < 1e-5


def test_texts_are_one_sentence(dino_folder):
    for encoder in (open_encoder(f"hf:{dino_folder}"), open_encoder("timm:test_vit/none?size=32")):
        for call in (encoder.embed_texts, encoder.text_features, encoder.project_texts):
            with pytest.raises(OpenMofiError, match="embeds images only"):
                call(["a"])
        assert encoder.describe()["logit_scale"] is None


def test_damaged_dino(dino_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    with pytest.raises(UsageError, match="preprocessing of its own"):
        open_encoder(f"hf:{dino_folder}?preprocessing=clip")
    copy = tmp_path / "copy"
    shutil.copytree(dino_folder, copy)
    odd = {**DINOV2_FILE, "crop_size": {"height": 30, "width": 30}}
    (copy / "preprocessor_config.json").write_text(json.dumps(odd))
    with pytest.raises(OpenMofiError, match="no multiple of its patches' 14"):
        open_encoder(f"hf:{copy}")
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(OpenMofiError, match=r"no preprocessor_config\.json"):
        open_encoder(f"hf:{copy}")
    weights = load_file(copy / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OpenMofiError, match=r"layernorm\.weight"):
        open_encoder(f"hf:{copy}")
    (copy / "model.safetensors").unlink()
    with pytest.raises(OpenMofiError, match=r"neither \*\.safetensors nor"):
        open_encoder(f"hf:{copy}")


def test_timm_equals_timm(tmp_path):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(3)
    model = timm.create_model("test_vit", num_classes=7).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    encoder = open_encoder(f"timm:test_vit/{tmp_path}/w.safetensors")
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model), is_training=False)
    pixels = pixels_of(encoder)
    assert np.abs(pixels - torch.stack([transform(image) for image in IMAGES]).numpy()).max() < 1e-5
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(torch.from_numpy(pixels)), pre_logits=True).numpy()
    assert np.abs(encoder.image_features(pixels) - expected).max() < 1e-5


def test_timm_at_another_size_and_seeds():
    first, again, other = (open_encoder(f"timm:test_vit/none?size=32&seed={seed}").fingerprint for seed in (0, 0, 1))
    assert first == again != other
    encoder = open_encoder("timm:test_vit/none?size=32")
    assert encoder.fingerprint == first
    assert encoder.image_features(pixels_of(encoder)).shape == (3, encoder.dim)
    assert encoder.preprocessing.size == 32


class Attack:
    def __reduce__(self):
        return (print, ("unpickled!",))


def test_timm_refuses(tmp_path, capsys):
    with pytest.raises(UsageError, match="no model 'test_vitt'"):
        open_encoder("timm:test_vitt")
    with pytest.raises(UsageError, match=r"no weights 'test_vit\.nobody'"):
        open_encoder("timm:test_vit/nobody")
    with pytest.raises(UsageError, match="option 'width=3'"):
        open_encoder("timm:test_vit/none?width=3")
    with pytest.raises(OpenMofiError, match=r"none\.safetensors .*does not exist"):
        open_encoder(f"timm:test_vit/{tmp_path}/none.safetensors")
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(OpenMofiError):
        open_encoder(f"timm:test_vit/{tmp_path}/w.pth")
    assert "unpickled!" not in capsys.readouterr().out
