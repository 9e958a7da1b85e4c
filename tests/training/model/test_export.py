import dataclasses
import json
import pickle
import shutil

import numpy as np
import pytest
import torch

from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError
from openmofi.training.model import save_encoder
from openmofi.training.recipe import TextModel

from .conftest import KINDS, TEXTS, batch_of, built, drawn_image, stirred

pytestmark = pytest.mark.slow


def exported(settings, folder, seed=0):
    model, inputs = built(settings, seed)
    stirred(model).eval()
    save_encoder(folder, model, settings, inputs, logit_scale=12.5, recipe={"name": "test"})
    return model, inputs, open_encoder(f"run:{folder}")


@pytest.mark.parametrize("kind", [*KINDS, "projection", "projection_image", "locked_bare"])
def test_the_opened_encoder_embeds_as_the_model(kind, settings_of, tmp_path):
    settings = settings_of(kind)
    model, inputs, encoder = exported(settings, tmp_path / "run")
    with torch.no_grad():
        expected = model(batch_of(inputs))
    pixels = np.stack([encoder.preprocess(drawn_image(40 + seed, 37, seed)) for seed in range(5)])
    assert np.abs(encoder.project_images(encoder.image_features(pixels)) - expected["image"].numpy()).max() < 1e-5
    assert (encoder.dim, encoder.logit_scale) == (settings.dim, 12.5)
    if "text" in expected:
        assert np.abs(encoder.embed_texts(TEXTS) - expected["text"].numpy()).max() < 1e-5
    else:
        with pytest.raises(OpenMofiError, match="without texts"):
            encoder.embed_texts(TEXTS)
    assert (encoder.heads is not None) == kind.startswith("projection")
    assert json.loads((tmp_path / "run" / "encoder.json").read_text())["dim"] == settings.dim


@pytest.mark.parametrize("kind", ["vit", "clip", "locked_image", "projection_image"])
def test_equal_models_are_equal_bytes_wherever_they_lie(kind, settings_of, tmp_path):
    first, second, other = (
        exported(settings_of(kind), tmp_path / name, seed)[2] for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    for path in sorted((tmp_path / "a").glob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert first.fingerprint == second.fingerprint != other.fingerprint
    if kind != "projection_image":
        assert first.feature_fingerprint == second.feature_fingerprint != other.feature_fingerprint


def test_an_encoder_trained_here_can_be_locked_in_the_next_run(settings_of, tmp_path):
    exported(settings_of("vit"), tmp_path / "first")
    locked = f"encoder:run:{tmp_path / 'first'}"
    settings = settings_of("projection")
    settings = dataclasses.replace(
        settings,
        image=dataclasses.replace(settings.image, spec=locked),
        text=dataclasses.replace(settings.text, spec=locked),
    )
    model, inputs, encoder = exported(settings, tmp_path / "second")
    with torch.no_grad():
        expected = model(batch_of(inputs))["text"].numpy()
    assert np.abs(encoder.embed_texts(TEXTS) - expected).max() < 1e-5


def test_a_tokenizer_with_files_travels_with_the_encoder(clip_folder, settings_of, tmp_path):
    import open_clip

    copied = shutil.copytree(clip_folder, tmp_path / "words")
    (tmp_path / "arch").mkdir()
    (tmp_path / "arch" / "openmofi-words.json").write_text(
        json.dumps(
            {
                "embed_dim": 16,
                "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
                "text_cfg": {
                    "context_length": 9,
                    "vocab_size": 64,
                    "width": 32,
                    "heads": 2,
                    "layers": 1,
                    "hf_tokenizer_name": str(copied),
                    "pool_type": "last",
                    "no_causal_mask": True,
                },
            }
        )
    )
    open_clip.add_model_config(tmp_path / "arch")
    settings = dataclasses.replace(settings_of("vit"), text=TextModel("open_clip:openmofi-words"))
    model, inputs = built(settings)
    assert torch.equal(pickle.loads(pickle.dumps(inputs)).tokenize(TEXTS), inputs.tokenize(TEXTS))
    save_encoder(tmp_path / "run", model.eval(), settings, inputs, logit_scale=1.0, recipe={})
    shutil.rmtree(copied)
    with torch.no_grad():
        expected = model(batch_of(inputs))["text"].numpy()
    assert np.abs(open_encoder(f"run:{tmp_path / 'run'}").embed_texts(TEXTS) - expected).max() < 1e-5
    shutil.rmtree(tmp_path / "run" / "tokenizer")
    with pytest.raises(OpenMofiError, match="tokenizer"):
        open_encoder(f"run:{shutil.move(tmp_path / 'run', tmp_path / 'moved')}")
