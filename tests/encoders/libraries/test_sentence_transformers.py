"""CLIPs in the layout of sentence-transformers: equal to that library; no class that a file names is run."""

import json
import shutil

import numpy as np
import pytest

from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError, UsageError

from ..conftest import SIZE, TEXTS, drawn_image

IMAGES = [drawn_image(SIZE, SIZE, seed) for seed in range(3)]
CLIP = "sentence_transformers.models.CLIPModel"


@pytest.fixture(scope="module")
def saved(clip_folder, tmp_path_factory):
    """What sentence-transformers writes, and the library's own model."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import CLIPModel

    folder = tmp_path_factory.mktemp("sentence")
    SentenceTransformer(modules=[CLIPModel(str(clip_folder))], device="cpu").save(str(folder))
    return folder, SentenceTransformer(str(folder), device="cpu")


@pytest.fixture
def older(clip_folder, tmp_path):
    """The layout of the first releases: the model below the folder, a normalisation after it."""
    shutil.copytree(clip_folder, tmp_path / "older" / "0_CLIPModel")
    rows = [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": CLIP}]
    rows += [{"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"}]
    (tmp_path / "older" / "modules.json").write_text(json.dumps(rows))
    return tmp_path / "older"


def test_embeddings_equal_sentence_transformers(saved):
    folder, theirs = saved
    encoder = open_encoder(f"st:{folder}")
    expected = theirs.encode(IMAGES, normalize_embeddings=True), theirs.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(encoder.embed_images(IMAGES) - expected[0]).max() < 1e-5
    assert np.abs(encoder.embed_texts(TEXTS) - expected[1]).max() < 1e-5
    assert encoder.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)


def test_a_prefix_of_the_embeddings(saved):
    folder, theirs = saved
    encoder, whole = open_encoder(f"st:{folder}?truncate_dim=5"), open_encoder(f"st:{folder}")
    expected = theirs.encode(TEXTS, truncate_dim=5, normalize_embeddings=True)
    assert np.abs(encoder.embed_texts(TEXTS) - expected).max() < 1e-5
    assert encoder.embed_images(IMAGES).shape == (3, 5)
    assert encoder.fingerprint != whole.fingerprint
    assert encoder.feature_fingerprint == whole.feature_fingerprint  # features are shared, and read once
    for wrong in ("truncate_dim=17", "truncate_dim=0", "truncate_dim=x", "dim=5"):
        with pytest.raises(UsageError, match="dim"):
            open_encoder(f"st:{folder}?{wrong}")


def test_the_older_layout_is_the_same_model(older, clip_folder):
    encoder, plain = open_encoder(f"st:{older}"), open_encoder(f"hf:{clip_folder}")
    assert encoder.fingerprint == plain.fingerprint
    assert encoder.spec == f"st:{older}"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([{"type": "evil.Evil"}], "asks for 'evil.Evil'"),
        ([{"type": "evil.CLIPModel"}], "asks for 'evil.CLIPModel'"),
        ([{}, {"type": "sentence_transformers.models.Dense"}], "asks for 'sentence_transformers.models.Dense'"),
        ([{"path": "../elsewhere"}], "asks for '../elsewhere'"),
        ([{"path": "/tmp"}], "asks for '/tmp'"),
        ([], "asks for 'none'"),
    ],
)
def test_what_is_no_clip_is_refused(older, changes, says):
    rows = [{"path": "0_CLIPModel", "type": CLIP, **change} for change in changes]
    (older / "modules.json").write_text(json.dumps(rows))
    with pytest.raises(OpenMofiError, match=says):
        open_encoder(f"st:{older}")


def test_other_folders_and_prompts_are_refused(older, clip_folder):
    with pytest.raises(OpenMofiError, match="not of sentence-transformers"):
        open_encoder(f"st:{clip_folder}")
    config = {"default_prompt_name": "query", "prompts": {"query": "Find: "}}
    (older / "config_sentence_transformers.json").write_text(json.dumps(config))
    with pytest.raises(OpenMofiError, match="puts the prompt 'Find: ' before every text"):
        open_encoder(f"st:{older}")


@pytest.mark.parametrize("layout", ["saved", "older"])
def test_a_repository_in_the_hubs_cache(layout, saved, older, tmp_path, monkeypatch):
    from huggingface_hub import constants

    repository = tmp_path / "cache" / "models--someone--clip"
    snapshot = repository / "snapshots" / ("a" * 40)
    shutil.copytree(saved[0] if layout == "saved" else older, snapshot)
    for folder in ("blobs", "refs"):
        (repository / folder).mkdir()
    # As the hub's client leaves them: links to the blobs beside the snapshots.
    for number, file in enumerate(path for path in list(snapshot.rglob("*")) if path.is_file()):
        file.symlink_to(file.rename(repository / "blobs" / str(number)))
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))
    encoder, local = open_encoder("st:someone/clip"), open_encoder(f"st:{older}")
    assert np.abs(encoder.embed_texts(TEXTS) - local.embed_texts(TEXTS)).max() < 1e-5


def test_links_out_of_the_folder_are_refused(older, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    (older / "0_CLIPModel" / "added_tokens.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(OpenMofiError, match="is a link out of its folder"):
        open_encoder(f"st:{older}")
