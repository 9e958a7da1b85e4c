import pickle

import numpy as np
import pytest
import torch

from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError, UsageError

from ..conftest import TEXTS, drawn_image
from .test_huggingface import Attack


def test_equals_open_clips_own_embeddings_and_transform(tiny_open_clip):
    import open_clip

    arch, weights = tiny_open_clip
    encoder = open_encoder(f"open_clip:{arch}/{weights}")
    model, _, transform = open_clip.create_model_and_transforms(arch, pretrained=str(weights))
    model.eval()
    images = [drawn_image(50, 41, 1), drawn_image(33, 70, 2)]
    pixels = np.stack([encoder.preprocess(image) for image in images])
    inputs = torch.stack([transform(image) for image in images])
    assert np.abs(pixels - inputs.numpy()).max() < 1e-6
    with torch.inference_mode():
        image = model.encode_image(inputs, normalize=True).numpy()
        text = model.encode_text(open_clip.get_tokenizer(arch)(TEXTS), normalize=True).numpy()
    assert np.abs(encoder.project_images(encoder.image_features(pixels)) - image).max() < 1e-5
    assert np.abs(encoder.embed_texts(TEXTS) - text).max() < 1e-5
    assert encoder.logit_scale == pytest.approx(1 / 0.07)


def test_preprocessing_of_a_tag_travels(monkeypatch, tiny_open_clip):
    arch, weights = tiny_open_clip
    tag = {
        "hf_hub": "someone/model/",
        "mean": (0.5,) * 3,
        "std": (0.25,) * 3,
        "interpolation": "bilinear",
        "resize_mode": "squash",
        "quick_gelu": True,
    }
    import open_clip

    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: tag)
    monkeypatch.setattr("openmofi.plugins.encoders.open_clip.hub_file", lambda *_: weights)
    encoder = open_encoder(f"open_clip:{arch}/mine")
    made = encoder.preprocessing
    assert (made.mean, made.std, made.interpolation, made.resize) == ((0.5,) * 3, (0.25,) * 3, "bilinear", "squash")
    monkeypatch.undo()
    plain = open_encoder(f"open_clip:{arch}/{weights}")
    assert not np.allclose(encoder.embed_texts(TEXTS), plain.embed_texts(TEXTS), atol=1e-5)  # QuickGELU was obeyed


def test_untrained_only_when_asked_for(tiny_open_clip):
    arch, _ = tiny_open_clip
    first, again, other = (open_encoder(f"open_clip:{arch}/none?seed={seed}") for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    for source in ("none", "random", "", "none?seed=x"):
        with pytest.raises(UsageError):
            open_encoder(f"open_clip:{arch}/{source}")


def test_untrained_leaves_the_seed_alone(tiny_open_clip):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    open_encoder(f"open_clip:{tiny_open_clip[0]}/none?seed=3")
    assert torch.equal(torch.rand(1), expected)


def test_a_pickled_attack_is_refused(tiny_open_clip, tmp_path, capsys):
    arch, _ = tiny_open_clip
    for name, write in (
        ("zip.pt", lambda path: torch.save({"state_dict": Attack()}, path)),
        ("plain.pt", lambda path: path.write_bytes(pickle.dumps(Attack()))),
    ):
        write(tmp_path / name)
        with pytest.raises(OpenMofiError, match="never loaded"):
            open_encoder(f"open_clip:{arch}/{tmp_path / name}")
    assert "unpickled!" not in capsys.readouterr().out


def test_a_plain_state_dict_in_pt_is_fine(tiny_open_clip, tmp_path):
    from safetensors.torch import load_file

    arch, weights = tiny_open_clip
    torch.save({"state_dict": load_file(weights)}, tmp_path / "weights.pt")
    found, expected = (open_encoder(f"open_clip:{arch}/{path}") for path in (tmp_path / "weights.pt", weights))
    assert found.fingerprint == expected.fingerprint


def test_files_that_do_not_fit_are_one_sentence(tiny_open_clip, tmp_path):
    from safetensors.torch import save_file

    arch, weights = tiny_open_clip
    (tmp_path / "half.safetensors").write_bytes(weights.read_bytes()[:5000])
    save_file({"logit_scale": torch.ones(())}, tmp_path / "other.safetensors")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("not weights at all")
    for name in ("half.safetensors", "other.safetensors", "empty.pt", "text.pt"):
        with pytest.raises(OpenMofiError, match=name):
            open_encoder(f"open_clip:{arch}/{tmp_path / name}")
    with pytest.raises(OpenMofiError, match=r"missing\.safetensors does not exist"):
        open_encoder(f"open_clip:{arch}/{tmp_path / 'missing.safetensors'}")


def test_unknown_names_meet_their_neighbours():
    with pytest.raises(UsageError, match="ViT-B-16"):
        open_encoder("open_clip:ViT-B16/laion2b_s34b_b88k")
    with pytest.raises(UsageError, match="laion2b_s34b_b88k"):
        open_encoder("open_clip:ViT-B-16/laion2b_s34b_b88")
