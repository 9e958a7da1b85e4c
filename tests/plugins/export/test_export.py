"""Exports: what they compute is what the original computes, in batches of any size; what they lose is judged."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from openmofi.encoders import open_encoder
from openmofi.errors import MissingExtraError, OpenMofiError, UsageError
from openmofi.plugins.export import ExportSettings
from openmofi.plugins.export.agreement import Agreement, Samples, agreement, samples_of

from ...encoders.conftest import SIZE, TEXTS, drawn_image

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from openmofi.plugins.export.job import OUTPUTS, export_encoder

pytestmark = pytest.mark.slow

SAMPLES = Samples("test images", [drawn_image(40 + seed, 50, seed) for seed in range(12)], TEXTS, paired=False)
TEXT_RICH = [*TEXTS, "a violin", "[PAD] and more", "", "ß 日本", "words " * 100]


def pixels_of(encoder, count=5):
    return np.stack([encoder.preprocess(drawn_image(40, 50, seed)) for seed in range(count)])


def check_equal(before, after, tolerance=1e-4):
    pixels = pixels_of(before)
    expected = before.project_images(before.image_features(pixels))
    for rows in (1, 2, 5):
        found = after.project_images(after.image_features(pixels[:rows]))
        assert np.abs(found - expected[:rows]).max() < tolerance
    assert after.image_features(pixels[:0]).shape == (0, after.feature_dim)
    assert np.abs(after.embed_texts(TEXT_RICH) - before.embed_texts(TEXT_RICH)).max() < tolerance
    assert np.abs(after.embed_texts(TEXT_RICH[:1]) - before.embed_texts(TEXT_RICH[:1])).max() < tolerance


@pytest.fixture(scope="module")
def clip(tiny_open_clip):
    return open_encoder(f"open_clip:{tiny_open_clip[0]}/{tiny_open_clip[1]}")


@pytest.fixture(scope="module")
def exported(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "onnx"
    found = export_encoder(clip, folder, ExportSettings(), SAMPLES)
    assert found.loss < 1e-5
    assert (found.images, found.texts, found.neighbours) == (12, 5, 1.0)
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    return tmp_path / "copy"


def test_onnx_equals_torch(clip, exported):
    found = open_encoder(f"onnx:{exported}")
    check_equal(clip, found)
    assert np.allclose(np.linalg.norm(found.image_features(pixels_of(clip)), axis=1), 1, atol=1e-5)
    assert (found.dim, found.preprocessing) == (clip.dim, clip.preprocessing)
    assert found.logit_scale == pytest.approx(clip.logit_scale)


def test_fingerprints_name_what_is_computed(clip, exported, copy):
    first, again = open_encoder(f"onnx:{exported}"), open_encoder(f"onnx:{copy}")
    assert first.fingerprint == again.fingerprint != clip.fingerprint
    assert first.feature_fingerprint == again.feature_fingerprint


def test_what_is_known_travels_in_the_graph_too(clip, exported):
    import onnx

    for side in ("image", "text"):
        props = {
            one.key: json.loads(one.value)
            for one in onnx.load(str(exported / f"{side}.onnx")).metadata_props
            if one.key.startswith("openmofi.")
        }
        assert props["openmofi.side"] == side
        assert props["openmofi.dim"] == clip.dim
        assert props["openmofi.preprocessing"] == json.loads(json.dumps(clip.describe()["preprocessing"]))
        assert props["openmofi.source"] == {"spec": clip.spec, "fingerprint": clip.fingerprint}
        assert props["openmofi.logit_scale"] == pytest.approx(clip.logit_scale)
        assert props["openmofi.tokenizer"]["kind"] == "clip"
        assert "L2" in props["openmofi.postprocessing"]
    told = json.loads((exported / "encoder.json").read_text())
    assert told["agreement"]["source"] == "test images"
    assert set(told["files"]) == {"image.onnx", "text.onnx", "tokenizer/tokenizer.json"}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_openvino(clip, tmp_path, precision):
    pytest.importorskip("openvino")
    if precision == "int8":
        pytest.importorskip("nncf")
    # A toy that is calibrated on two texts loses more than a model that is used.
    found = export_encoder(clip, tmp_path / "out", ExportSettings("openvino", precision, 0.1), SAMPLES)
    assert found.images == (6 if precision == "int8" else 12)
    opened = open_encoder(f"openvino:{tmp_path / 'out'}")
    check_equal(clip, opened, {"fp32": 1e-4, "bf16": 0.05, "int8": 0.5}[precision])
    assert "openmofi" in (tmp_path / "out/image.xml").read_text()


def test_int8_of_linear_layers_and_the_loss_that_is_refused(clip, tmp_path):
    with pytest.raises(OpenMofiError, match=r"loses 0\.\d+ .*; images .*, texts .*nothing was written"):
        export_encoder(clip, tmp_path / "out", ExportSettings("onnx", "int8", 0.0), SAMPLES)
    assert not list(tmp_path.iterdir())
    found = export_encoder(clip, tmp_path / "out", ExportSettings("onnx", "int8", 0.05), SAMPLES)
    assert 0 < found.loss < 0.05
    check_equal(clip, open_encoder(f"onnx:{tmp_path / 'out'}"), 0.3)
    with pytest.raises(OpenMofiError, match=r"was made with other settings \(precision: 'int8' → 'fp32'\)"):
        export_encoder(clip, tmp_path / "out", ExportSettings(), SAMPLES)
    assert export_encoder(clip, tmp_path / "out", ExportSettings("onnx", "int8", 0.05), SAMPLES) == found
    with pytest.raises(OpenMofiError, match=r"loses 0\.\d+ "):
        export_encoder(clip, tmp_path / "out", ExportSettings("onnx", "int8", 0.0), SAMPLES)


def test_restart_replaces_an_export_and_leaves_other_files(clip, copy):
    out = copy
    written = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    assert written - {path.relative_to(out) for path in OUTPUTS.files(out)} == {Path("manifest.json")}
    (out / "notes.txt").write_text("mine")
    (out / "image.onnx").write_bytes(b"damaged")
    export_encoder(clip, out, ExportSettings(max_loss=0.5), SAMPLES, restart=True)
    assert {path.relative_to(out) for path in out.rglob("*") if path.is_file()} == written | {Path("notes.txt")}
    check_equal(clip, open_encoder(f"onnx:{out}"), 1e-4)


def test_images_alone_folded(tmp_path):
    encoder = open_encoder("timm:fastvit_mci0/none?size=64")
    assert (encoder.preprocessing.mean, encoder.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)
    export_encoder(encoder, tmp_path / "out", ExportSettings(), SAMPLES)
    found, pixels = open_encoder(f"onnx:{tmp_path / 'out'}"), pixels_of(encoder)
    assert np.abs(found.image_features(pixels) - encoder.project_images(encoder.image_features(pixels))).max() < 1e-4
    with pytest.raises(OpenMofiError, match="embeds images only"):
        found.embed_texts(TEXTS)
    import onnx

    kinds = [node.op_type for node in onnx.load(str(tmp_path / "out/image.onnx")).graph.node]
    assert kinds.count("BatchNormalization") <= 2


def test_a_network_without_linear_layers_is_not_made_int8(tmp_path):
    encoder = open_encoder("timm:test_byobnet/none?size=32")
    with pytest.raises(UsageError, match="no linear layers"):
        export_encoder(encoder, tmp_path / "out", ExportSettings("onnx", "int8"), SAMPLES)
    assert not list(tmp_path.iterdir())


def test_great_weights_lie_beside_the_graph(tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.plugins.export.tracing._WHOLE", 0)
    encoder = open_encoder("timm:test_byobnet/none?size=32")
    export_encoder(encoder, tmp_path / "out", ExportSettings(), SAMPLES)
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert set(json.loads((tmp_path / "moved/encoder.json").read_text())["files"]) == {"image.onnx", "image.onnx.data"}
    found, pixels = open_encoder(f"onnx:{tmp_path / 'moved'}"), pixels_of(encoder)
    assert np.abs(found.image_features(pixels) - encoder.project_images(encoder.image_features(pixels))).max() < 1e-4


def test_transformers_layout(clip_folder, tmp_path):
    encoder = open_encoder(f"hf:{clip_folder}")
    export_encoder(encoder, tmp_path / "out", ExportSettings(), SAMPLES)
    assert (tmp_path / "out/tokenizer/tokenizer.json").is_file()
    check_equal(encoder, open_encoder(f"onnx:{tmp_path / 'out'}"))


def test_damage_is_one_sentence(copy):
    raw = json.loads((copy / "encoder.json").read_text())
    for changes, says in (
        ({"dim": 17}, "changed after it was written"),
        ({"preprocessing": {}}, "preprocessing"),
        ({"files": {"../image.onnx": ""}}, "not what encoder.json"),
        ({"files": None}, "cannot be read"),
        ({"format_version": 9}, "format version 9"),
    ):
        (copy / "encoder.json").write_text(json.dumps(raw | changes))
        with pytest.raises(OpenMofiError, match=says):
            open_encoder(f"onnx:{copy}")
    (copy / "encoder.json").write_text(json.dumps(raw))
    content = (copy / "image.onnx").read_bytes()
    (copy / "image.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(OpenMofiError, match=r"image\.onnx is not what encoder\.json"):
        open_encoder(f"onnx:{copy}")
    (copy / "image.onnx").unlink()
    with pytest.raises(OpenMofiError, match="not whole"):
        open_encoder(f"onnx:{copy}")


def test_a_graph_that_the_engine_refuses(copy):
    from openmofi.encoders.folder import read_description
    from openmofi.encoders.graphs import Graphs, digests, write_graphs_description

    encoder, raw = open_encoder(f"onnx:{copy}"), read_description(copy)
    (copy / "image.onnx").write_bytes(b"no graph")
    graphs = Graphs(**{name: raw[name] for name in Graphs.__dataclass_fields__} | {"files": digests(copy)})
    write_graphs_description(copy, encoder, "onnx", graphs)
    with pytest.raises(OpenMofiError, match="cannot be opened"):
        open_encoder(f"onnx:{copy}")


def test_wrong_use(clip, exported, tmp_path):
    for spec, says in (
        (f"openvino:{exported}", f"Open it as onnx:{exported}"),
        (f"run:{exported}", f"Open it as onnx:{exported}"),
        (f"onnx:{tmp_path}", "not an encoder"),
    ):
        with pytest.raises(OpenMofiError, match=says):
            open_encoder(spec)
    with pytest.raises(UsageError, match="no networks of PyTorch"):
        export_encoder(open_encoder(f"onnx:{exported}"), tmp_path / "out", ExportSettings(), SAMPLES)
    for settings, says in (
        (("tflite",), "Unknown format 'tflite'"),
        (("onnx", "int4"), "unknown value 'int4' for precision"),
        (("onnx", "bf16"), "no bfloat16"),
        (("onnx", "fp32", float("nan")), "max_loss is nan"),
    ):
        with pytest.raises(UsageError, match=says):
            ExportSettings(*settings)


def test_a_missing_engine_is_named(exported, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"\[export\]"):
        open_encoder(f"onnx:{exported}")


def test_agreement_of_an_encoder_with_itself(clip, tmp_path):
    pairs = Samples("pairs", SAMPLES.images[:5], TEXTS[:4] + ["violin"], paired=True)
    found = agreement(clip, clip, pairs, texts=True)
    assert found.loss == pytest.approx(0, abs=1e-6)
    assert found.neighbours == 1.0
    assert found.map_before == found.map_after
    assert 0.2 <= found.map_before <= 1
    assert Agreement("", 1, 1, 0.9, 0.5, 1.0, 0.7, 0.2).loss == pytest.approx(0.3)


def test_samples(tmp_path):
    generated = samples_of([], 32)
    assert "generated" in generated.source
    assert [one.size for one in generated.images] == [(32, 32)] * 64
    assert np.array_equal(generated.images[3], samples_of([], 32).images[3])
    for number in range(3):
        drawn_image(40, 40, number).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    (tmp_path / "broken.png").write_bytes(b"x")
    (tmp_path / "broken.txt").write_text("text")
    found = samples_of([str(tmp_path)], SIZE, limit=2)
    assert found.paired
    assert list(found.texts) == ["text 0", "text 1"]
    with pytest.raises(OpenMofiError):
        samples_of([str(tmp_path / "none")], SIZE)


def test_samples_are_decoded_at_full_size_or_at_the_size_that_the_encoder_names(tmp_path):
    drawn_image(400, 300).save(tmp_path / "0.jpg")
    (tmp_path / "0.txt").write_text("text")
    sizes = [samples_of([str(tmp_path)], SIZE, decode_size=size).images[0].size for size in (None, SIZE)]
    assert sizes == [(400, 300), (100, 75)]
