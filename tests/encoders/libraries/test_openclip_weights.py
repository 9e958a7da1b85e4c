"""Local weights in open_clip's layouts open with the preprocessing and activation of their training, or are refused.

The oracle is open_clip's own factory, told what the files say. Architectures have their real names and tags, with
towers shrunk; the slow tests build the real ones.
"""

import copy
import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file

from openmofi.encoders import open_encoder
from openmofi.encoders.towers import image_preprocessing, image_trunk, text_trunk
from openmofi.errors import OpenMofiError, UsageError

from ..conftest import SIZE, drawn_image, save_tokenizer

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
TEXTS = ["a photo of the crane bird", "apple", "the red fruit"]
IMAGES = [drawn_image(50, 41, 1), drawn_image(33, 70, 2)]
VISION = {"image_size": SIZE, "layers": 1, "width": 64, "patch_size": 16}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
# mean, resampling, resizing, QuickGELU: of the pretrained tags, by their model cards.
EXPECTED = {
    **{f"MobileCLIP2-{size}": ((0.0,) * 3, "bilinear", "shortest", False) for size in ("S0", "S2", "B")},
    **{f"MobileCLIP2-{size}": (CLIP_MEAN, "bilinear", "shortest", False) for size in ("S3", "S4")},
    "MobileCLIP2-L-14": (CLIP_MEAN, "bicubic", "shortest", False),
    "ViT-B-16-SigLIP": ((0.5,) * 3, "bicubic", "squash", False),
    "PE-Core-T-16-384": ((0.5,) * 3, "bilinear", "squash", False),
    "ViT-B-32-quickgelu": (CLIP_MEAN, "bicubic", "shortest", True),
    "RN50": (CLIP_MEAN, "bicubic", "shortest", True),
}
REAL = ["MobileCLIP2-S0", "ViT-B-16-SigLIP", "PE-Core-T-16-384"]
"""Those with other towers than open_clip's own, which when shrunk are shorter and else the same."""


@pytest.fixture
def shrunk(monkeypatch):
    """Gives an architecture of open_clip towers small enough for a test, under its own name."""
    import open_clip.factory as factory

    def shrink(arch):
        config = copy.deepcopy(factory._MODEL_CONFIGS[arch])
        name = config["text_cfg"].get("hf_tokenizer_name")
        config |= {"embed_dim": 16, "vision_cfg": dict(VISION), "text_cfg": dict(TEXT)}
        if name:
            config["text_cfg"] |= {
                "hf_tokenizer_name": name,
                "tokenizer_kwargs": {"clean": "canonicalize"},
                "pool_type": "last",
                "no_causal_mask": True,
            }
        monkeypatch.setitem(factory._MODEL_CONFIGS, arch, config)
        return arch

    return shrink


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))


def write_weights(arch, path):
    torch.manual_seed(0)
    save_file(open_clip.create_model(arch).state_dict(), path)
    if open_clip.get_model_config(arch)["text_cfg"].get("hf_tokenizer_name"):
        save_tokenizer(path.parent)
    return path


def assert_equals_open_clip(encoder, arch, path, tag, quick_gelu):
    """Pixels and embeddings are those of open_clip's factory with the preprocessing of `tag`."""
    settings = open_clip.get_pretrained_cfg(arch, tag)
    model, _, transform = open_clip.create_model_and_transforms(
        arch,
        pretrained=str(path),
        force_quick_gelu=quick_gelu,
        image_mean=settings.get("mean"),
        image_std=settings.get("std"),
        image_interpolation=settings.get("interpolation"),
        image_resize_mode=settings.get("resize_mode"),
    )
    model.eval()
    pixels = np.stack([encoder.preprocess(image) for image in IMAGES])
    inputs = torch.stack([transform(image) for image in IMAGES])
    assert np.abs(pixels - inputs.numpy()).max() < 1e-5
    with torch.inference_mode():
        images = model.encode_image(inputs, normalize=True).numpy()
    assert np.abs(encoder.project_images(encoder.image_features(pixels)) - images).max() < 1e-4
    if not open_clip.get_model_config(arch)["text_cfg"].get("hf_tokenizer_name"):
        with torch.inference_mode():
            texts = model.encode_text(open_clip.get_tokenizer(arch)(TEXTS), normalize=True).numpy()
        assert np.abs(encoder.embed_texts(TEXTS) - texts).max() < 1e-4


def assert_opens_rightly(arch, tmp_path):
    path = write_weights(arch, tmp_path / "weights.safetensors")
    encoder = open_encoder(f"open_clip:{arch}/{path}")
    mean, interpolation, resize, quick_gelu = EXPECTED[arch]
    settings = encoder.preprocessing
    assert (settings.mean, settings.interpolation, settings.resize) == (mean, interpolation, resize)
    assert_equals_open_clip(encoder, arch, path, open_clip.list_pretrained_tags_by_model(arch)[0], quick_gelu)
    texts = encoder.embed_texts(TEXTS)
    assert np.abs(texts[0] - texts[1]).max() > 1e-3
    return path


@pytest.mark.parametrize("arch", EXPECTED)
def test_what_all_tags_agree_on_is_taken(arch, shrunk, tmp_path, no_network):
    path = assert_opens_rightly(shrunk(arch), tmp_path)
    # Towers to train begin with the same preprocessing and activation.
    settings = image_preprocessing(f"open_clip:{arch}", pretrained=str(path))
    assert settings == open_encoder(f"open_clip:{arch}/{path}").preprocessing
    architecture = image_trunk(f"open_clip:{arch}", pretrained=str(path)).architecture
    assert architecture["quick_gelu"] is EXPECTED[arch][3]
    assert text_trunk(f"open_clip:{arch}", pretrained=str(path)).architecture["quick_gelu"] is EXPECTED[arch][3]


@pytest.mark.slow
@pytest.mark.parametrize("arch", REAL)
def test_the_real_architectures_open_rightly(arch, tmp_path, no_network):
    assert_opens_rightly(arch, tmp_path)


def test_tags_that_differ_are_refused_with_the_choices(shrunk, tmp_path):
    arch = shrunk("ViT-L-14")
    path = write_weights(arch, tmp_path / "weights.safetensors")
    for call in (
        lambda: open_encoder(f"open_clip:{arch}/{path}"),
        lambda: image_trunk(f"open_clip:{arch}", pretrained=str(path)),
    ):
        with pytest.raises(UsageError, match="pretrained tags of ViT-L-14 differ") as raised:
            call()
        hint = raised.value.hint
        assert all(
            part in hint
            for part in ("?as=TAG", "openai", "QuickGELU", "laion2b_s32b_b82k", "mean (0.5", "open_clip_config.json")
        )


@pytest.mark.parametrize(
    ("tag", "quick_gelu"),
    [("openai", True), ("dfn2b", True), ("datacomp_xl_s13b_b90k", False), ("laion2b_s32b_b82k", False)],
)
def test_a_tag_says_how_it_was_trained(tag, quick_gelu, shrunk, tmp_path):
    arch = shrunk("ViT-L-14")
    path = write_weights(arch, tmp_path / "weights.safetensors")
    encoder = open_encoder(f"open_clip:{arch}/{path}?as={tag}")
    assert encoder.preprocessing.mean == ((0.5,) * 3 if tag.startswith("laion2b") else CLIP_MEAN)
    assert_equals_open_clip(encoder, arch, path, tag, quick_gelu)
    other = "openai" if not quick_gelu else "datacomp_xl_s13b_b90k"
    other_texts = open_encoder(f"open_clip:{arch}/{path}?as={other}").embed_texts(TEXTS)
    assert np.abs(encoder.embed_texts(TEXTS) - other_texts).max() > 1e-5


@pytest.mark.parametrize(("option", "message"), [("as=opnai", "no tag 'opnai'"), ("preprocessing=clip", "is unknown")])
def test_wrong_options_are_refused(option, message, shrunk, tmp_path):
    arch = shrunk("ViT-L-14")
    path = write_weights(arch, tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match=message) as raised:
        open_encoder(f"open_clip:{arch}/{path}?{option}")
    assert "openai" in raised.value.hint or "?as=TAG" in raised.value.hint


def write_folder(arch, folder, *, quick_gelu=False, weights="open_clip_model.safetensors", **preprocess):
    """A folder as open_clip's `push_to_hf_hub` writes it, by its own function."""
    folder.mkdir()
    torch.manual_seed(0)
    model = open_clip.create_model(arch, force_preprocess_cfg=preprocess)
    state = model.state_dict()
    if weights.endswith(".safetensors"):
        save_file(state, folder / weights)
    else:
        torch.save(state, folder / weights)
    config = {**open_clip.get_model_config(arch), **({"quick_gelu": True} if quick_gelu else {})}
    save_config_for_hf(model, folder / "open_clip_config.json", model_config=config)
    if config["text_cfg"].get("hf_tokenizer_name"):
        save_tokenizer(folder)
    return folder


def embedded(encoder):
    pixels = np.stack([encoder.preprocess(image) for image in IMAGES])
    return np.concatenate([encoder.project_images(encoder.image_features(pixels)), encoder.embed_texts(TEXTS)])


def test_the_configuration_beside_the_file_is_read(shrunk, tmp_path):
    arch = shrunk("ViT-L-14")
    folder = write_folder(
        arch, tmp_path / "model", quick_gelu=True, mean=(0.1, 0.2, 0.3), interpolation="bilinear", resize_mode="squash"
    )
    encoder = open_encoder(f"open_clip:{arch}/{folder}/open_clip_model.safetensors")
    settings = encoder.preprocessing
    assert (settings.mean, settings.interpolation, settings.resize) == ((0.1, 0.2, 0.3), "bilinear", "squash")
    by_tag = open_encoder(f"open_clip:{arch}/{folder}/open_clip_model.safetensors?as=openai")
    assert by_tag.preprocessing.mean == CLIP_MEAN
    assert np.abs(encoder.embed_texts(TEXTS) - by_tag.embed_texts(TEXTS)).max() < 1e-6  # both QuickGELU


@pytest.mark.parametrize(("side", "key", "value"), [("vision_cfg", "image_size", 64), ("text_cfg", "heads", 4)])
def test_a_configuration_of_another_model_is_refused(side, key, value, shrunk, tmp_path):
    arch = shrunk("ViT-L-14")
    folder = write_folder(arch, tmp_path / "model")
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"][side][key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match=rf"another model than {arch}: {side}\.{key} {value}, not") as raised:
        open_encoder(f"open_clip:{arch}/{folder}/open_clip_model.safetensors")
    assert raised.value.hint.endswith(f"open_clip:local-dir:{folder}.")


@pytest.mark.parametrize("weights", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
@pytest.mark.parametrize("arch", ["ViT-B-32", "ViT-B-16-SigLIP"])
def test_a_folder_opens_as_in_open_clip(arch, weights, shrunk, tmp_path, no_network):
    folder = write_folder(
        shrunk(arch),
        tmp_path / "model",
        quick_gelu=arch == "ViT-B-32",
        weights=weights,
        mean=(0.1, 0.2, 0.3),
        resize_mode="squash",
    )
    encoder = open_encoder(f"open_clip:local-dir:{folder}")
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    inputs = torch.stack([transform(image) for image in IMAGES])
    with torch.inference_mode():
        expected = np.concatenate(
            [
                model.encode_image(inputs, normalize=True).numpy(),
                model.encode_text(tokenizer(TEXTS), normalize=True).numpy(),
            ]
        )
    assert np.abs(embedded(encoder) - expected).max() < 1e-5
    assert encoder.logit_scale == pytest.approx(1 / 0.07)
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert open_encoder(f"open_clip:local-dir:{moved}").fingerprint == encoder.fingerprint


def test_a_repository_of_the_hub_opens_from_the_cache(shrunk, tmp_path, monkeypatch, no_network):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--clip"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    (repository / "snapshots").mkdir()
    folder = write_folder(
        shrunk("ViT-B-32"),
        repository / "snapshots" / ("a" * 40),
        mean=(0.1, 0.2, 0.3),
        weights="open_clip_pytorch_model.bin",
    )
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    encoder = open_encoder("open_clip:hf-hub:someone/clip")
    assert encoder.preprocessing.mean == (0.1, 0.2, 0.3)
    assert np.array_equal(embedded(encoder), embedded(open_encoder(f"open_clip:local-dir:{folder}")))


def test_folders_that_cannot_be_opened_are_one_sentence(shrunk, tmp_path):
    folder = write_folder(shrunk("ViT-B-32"), tmp_path / "model")
    cases = {
        "does not exist": lambda copy: shutil.rmtree(copy),
        r"has no open_clip_config\.json": lambda copy: (copy / "open_clip_config.json").unlink(),
        "open_clip_config.json cannot be read: Expected .object., got .array.": lambda copy: (
            copy / "open_clip_config.json"
        ).write_text("[1]"),
        "configuration has no vision_cfg": lambda copy: (copy / "open_clip_config.json").write_text(
            json.dumps({"model_cfg": {"embed_dim": 3, "text_cfg": {}}})
        ),
        "has no weights file": lambda copy: (copy / "open_clip_model.safetensors").unlink(),
        "several weights files": lambda copy: (
            [(copy / "open_clip_model.safetensors").rename(copy / name) for name in ("a.safetensors",)]
            + [(copy / "b.safetensors").write_bytes(b"")]
        ),
        "cannot be loaded as weights": lambda copy: (copy / "open_clip_model.safetensors").write_bytes(b"x" * 99),
    }
    for message, damage in cases.items():
        copied = shutil.copytree(folder, tmp_path / "copy")
        damage(copied)
        with pytest.raises(OpenMofiError, match=message) as raised:
            open_encoder(f"open_clip:local-dir:{copied}")
        assert raised.value.hint
        shutil.rmtree(copied, ignore_errors=True)
    with pytest.raises(OpenMofiError, match="neither a folder nor a repository"):
        open_encoder("open_clip:hf-hub:some one/mo del!")


@pytest.mark.parametrize("arch", ["ViT-B-16-SigLIP", "MobileCLIP2-S0"])
def test_a_wrong_file_is_one_sentence(arch, shrunk, tmp_path):
    other = write_weights(shrunk("ViT-B-32"), tmp_path / "other.safetensors")
    with pytest.raises(OpenMofiError, match=f"cannot be loaded as weights of {arch}") as raised:
        open_encoder(f"open_clip:{arch}/{other}")
    assert raised.value.hint


def test_siglip_needs_its_tokenizer_beside_the_file(shrunk, tmp_path, monkeypatch, no_network):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    arch = shrunk("ViT-B-16-SigLIP")
    path = write_weights(arch, tmp_path / "weights.safetensors")
    with_tokenizer = open_encoder(f"open_clip:{arch}/{path}").fingerprint
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(OpenMofiError, match="has no tokenizer files") as raised:
        open_encoder(f"open_clip:{arch}/{path}?as=webli")
    assert "tokenizer.json and tokenizer_config.json of timm/ViT-B-16-SigLIP" in raised.value.hint
    save_tokenizer(tmp_path, length=9)
    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text() + "\n")
    # The tokenizer decides what texts embed to, so it is in the fingerprint.
    assert open_encoder(f"open_clip:{arch}/{path}?as=webli").fingerprint != with_tokenizer


def test_what_embeds_no_images_is_refused():
    audio = [arch for arch in open_clip.list_models() if "audio_cfg" in open_clip.get_model_config(arch)]
    if not audio:
        pytest.skip("open_clip 3 has no models of sound")
    with pytest.raises(UsageError, match="a model of images and texts: its configuration has no vision_cfg"):
        open_encoder(f"open_clip:{audio[0]}/none?seed=0")


@pytest.mark.parametrize("kind", ["local-dir", "hf-hub"])
def test_a_folder_that_is_not_named_is_wrong_use(kind):
    with pytest.raises(UsageError, match=f"open_clip:{kind}: names nothing"):
        open_encoder(f"open_clip:{kind}:")
