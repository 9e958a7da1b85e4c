import contextlib
import json
import logging
import math
import pickle
import shutil

import numpy as np
import pytest
import torch

from openmofi.encoders import open_encoder
from openmofi.encoders.towers import text_tokens
from openmofi.errors import OpenMofiError, UsageError

from ..conftest import SIZE, TEXTS, drawn_image, save_clip

IMAGES = [drawn_image(50, 40, 1), drawn_image(33, 70, 2), drawn_image(32, 32, 3)]


def theirs(folder, kind, **padding):
    from transformers import AutoTokenizer, CLIPModel, SiglipModel

    model = {"clip": CLIPModel, "siglip": SiglipModel}[kind].from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return model, tokenizer(TEXTS, return_tensors="pt", truncation=True, max_length=12, **padding)


@pytest.mark.parametrize(("kind", "padding"), [("clip", {"padding": True}), ("siglip", {"padding": "max_length"})])
def test_embeddings_equal_transformers_own(clip_folder, siglip_folder, kind, padding):
    folder = clip_folder if kind == "clip" else siglip_folder
    encoder = open_encoder(f"hf:{folder}")
    pixels = np.stack([encoder.preprocess(image) for image in IMAGES])
    model, inputs = theirs(folder, kind, **padding)
    with torch.inference_mode():
        expected = model(**inputs, pixel_values=torch.from_numpy(pixels))
    assert np.abs(encoder.project_images(encoder.image_features(pixels)) - expected.image_embeds.numpy()).max() < 1e-5
    assert np.abs(encoder.embed_texts(TEXTS) - expected.text_embeds.numpy()).max() < 1e-5
    assert encoder.logit_scale == pytest.approx(model.logit_scale.detach().exp().item())
    assert (encoder.dim, encoder.feature_dim, encoder.text_feature_dim) == (expected.text_embeds.shape[1],) * 3


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_preprocessing_equals_the_folders_processor(clip_folder, siglip_folder, kind):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    folder, processor = {
        "clip": (clip_folder, CLIPImageProcessorPil),
        "siglip": (siglip_folder, SiglipImageProcessorPil),
    }[kind]
    expected = processor.from_pretrained(folder)(IMAGES, return_tensors="np")["pixel_values"]
    encoder = open_encoder(f"hf:{folder}")
    assert np.abs(np.stack([encoder.preprocess(image) for image in IMAGES]) - expected).max() < 1e-5


def test_order_and_repetition_of_texts_change_nothing(clip_folder):
    encoder = open_encoder(f"hf:{clip_folder}")
    found = encoder.text_features(TEXTS)
    assert np.array_equal(found[::-1], encoder.text_features(TEXTS[::-1]))
    assert np.array_equal(found[1], found[4])
    assert encoder.text_features([]).shape == (0, 16)
    assert encoder.image_features(np.zeros((0, 3, SIZE, SIZE), np.float32)).shape == (0, 16)


def test_long_and_empty_texts_are_embedded(clip_folder):
    found = open_encoder(f"hf:{clip_folder}").embed_texts(["apple " * 500, "", "\x00\ud7ff", " "])
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_fingerprints_follow_weights_words_and_preprocessing(clip_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    first = open_encoder(f"hf:{clip_folder}")
    copy = tmp_path / "copy"
    shutil.copytree(clip_folder, copy)
    assert open_encoder(f"hf:{copy}").fingerprint == first.fingerprint
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**settings, "image_mean": [0.1] * 3}))
    other = open_encoder(f"hf:{copy}")
    assert other.feature_fingerprint != first.feature_fingerprint
    weights = load_file(copy / "model.safetensors")
    weights["visual_projection.weight"][0, 0] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert open_encoder(f"hf:{copy}").feature_fingerprint != other.feature_fingerprint


def test_a_missing_logit_scale_is_one_and_said(clip_folder, tmp_path, caplog):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "mofi"
    shutil.copytree(clip_folder, copy)
    weights = load_file(copy / "model.safetensors")
    del weights["logit_scale"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with caplog.at_level(logging.WARNING):
        assert open_encoder(f"hf:{copy}").logit_scale is None
    assert "no logit scale" in caplog.text


def test_ids_alone_where_the_tokenizer_says_so(tmp_path, clip_folder):
    bare = save_clip(tmp_path / "bare", names=["input_ids"])
    found, masked = (open_encoder(f"hf:{folder}").embed_texts(TEXTS) for folder in (bare, clip_folder))
    assert np.abs(found - masked).max() < 1e-5  # padding stands right of the end, so a causal tower never sees it


def test_mofis_preprocessing_by_option(clip_folder):
    encoder = open_encoder(f"hf:{clip_folder}?preprocessing=mofi")
    assert encoder.preprocessing.antialias is False
    assert encoder.preprocessing.size == SIZE
    with pytest.raises(UsageError, match="preprocessing=clip"):
        open_encoder(f"hf:{clip_folder}?preprocessing=other")


class Attack:
    def __reduce__(self):
        return (print, ("unpickled!",))


def test_pickled_weights_are_refused(clip_folder, tmp_path, capsys):
    copy = tmp_path / "pickled"
    shutil.copytree(clip_folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(OpenMofiError, match="pickled code besides weights, which is never loaded"):
        open_encoder(f"hf:{copy}")
    assert "unpickled!" not in capsys.readouterr().out


def as_pickle(folder, copy):
    """The checkpoint with its weights in `pytorch_model.bin` alone."""
    from safetensors.torch import load_file

    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(load_file(folder / "model.safetensors"), copy / "pytorch_model.bin")
    return copy


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_pickled_tensors_equal_safetensors(kind, clip_folder, siglip_folder, tmp_path):
    folder = clip_folder if kind == "clip" else siglip_folder
    encoder, expected = (open_encoder(f"hf:{path}") for path in (as_pickle(folder, tmp_path / "copy"), folder))
    assert encoder.fingerprint == expected.fingerprint
    assert np.array_equal(encoder.embed_texts(TEXTS), expected.embed_texts(TEXTS))


def test_a_logit_scale_missing_from_pickled_tensors_is_said(clip_folder, tmp_path, caplog):
    copy = as_pickle(clip_folder, tmp_path / "copy")
    weights = torch.load(copy / "pytorch_model.bin", weights_only=True)
    del weights["logit_scale"]
    torch.save(weights, copy / "pytorch_model.bin")
    with caplog.at_level(logging.WARNING):
        open_encoder(f"hf:{copy}")
    assert "no logit scale" in caplog.text


def test_a_folder_without_weights_is_refused(clip_folder, tmp_path):
    copy = shutil.copytree(clip_folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(OpenMofiError, match=r"neither \*\.safetensors nor pytorch_model\.bin"):
        open_encoder(f"hf:{copy}")


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_folder_without_tokenizer_files_is_refused(kind, clip_folder, siglip_folder, tmp_path):
    # transformers opens it with two tokens, by which all texts embed alike.
    folder = clip_folder if kind == "clip" else siglip_folder
    for number, gone in enumerate(("tokenizer*", "tokenizer.json")):
        copy = shutil.copytree(folder, tmp_path / f"copy{number}", ignore=shutil.ignore_patterns(gone))
        for call in (lambda copy=copy: open_encoder(f"hf:{copy}"), lambda copy=copy: text_tokens(f"hf:{copy}")):
            with pytest.raises(OpenMofiError, match="has no tokenizer files") as raised:
                call()
            assert "tokenizer.json" in raised.value.hint


def test_code_of_a_checkpoint_is_never_run(clip_folder, tmp_path):
    copy = tmp_path / "code"
    shutil.copytree(clip_folder, copy)
    ran = tmp_path / "ran"
    (copy / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Model: pass\n")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "own.Model"}}))
    words = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(
        json.dumps({**words, "auto_map": {"AutoTokenizer": ["own.Model", None]}})
    )
    with contextlib.suppress(OpenMofiError):
        open_encoder(f"hf:{copy}")
    assert not ran.exists()


def test_damaged_checkpoints_are_one_sentence(clip_folder, tmp_path):
    copy = tmp_path / "damaged"
    shutil.copytree(clip_folder, copy)
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OpenMofiError, match="cannot be loaded"):
        open_encoder(f"hf:{copy}")
    (copy / "config.json").write_text("{")
    with pytest.raises(OpenMofiError, match=r"config\.json cannot be read"):
        open_encoder(f"hf:{copy}")
    (copy / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(OpenMofiError, match="'bert' model"):
        open_encoder(f"hf:{copy}")
    (copy / "config.json").unlink()
    with pytest.raises(OpenMofiError, match=r"no config\.json"):
        open_encoder(f"hf:{copy}")


def test_missing_weights_are_named(clip_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "partial"
    shutil.copytree(clip_folder, copy)
    weights = load_file(copy / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OpenMofiError, match=r"text_projection\.weight"):
        open_encoder(f"hf:{copy}")


def test_a_path_that_is_not_there_asks_no_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(OpenMofiError, match="does not exist"):
        open_encoder(f"hf:{tmp_path}/nowhere")


def test_scale_is_the_exponential(clip_folder):
    assert open_encoder(f"hf:{clip_folder}").logit_scale == pytest.approx(math.exp(2.6592), rel=1e-4)


def test_a_mistyped_relative_path_asks_no_hub(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(OpenMofiError, match="The folder runs/clpi does not exist"):
        open_encoder("hf:runs/clpi")


def test_a_pickle_opens_the_checkpoint_again_until_it_changes(clip_folder, tmp_path):
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    encoder = open_encoder(f"hf:{folder}")
    packed = pickle.dumps(encoder)
    assert len(packed) < 2000
    again = pickle.loads(packed)
    assert (again.fingerprint, again.spec, again.device) == (encoder.fingerprint, encoder.spec, "cpu")
    assert np.array_equal(again.embed_texts(TEXTS), encoder.embed_texts(TEXTS))
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "image_std": [0.9] * 3}))
    # What is open is what the fingerprint says, whatever becomes of its files.
    assert pickle.loads(packed) is again
    del again
    with pytest.raises(OpenMofiError, match="is not the same in this process"):
        pickle.loads(packed)
