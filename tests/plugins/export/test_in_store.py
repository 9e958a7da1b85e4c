"""Exports of encoders whose output lies in a store."""

import pytest

from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.export import ExportSettings
from openmofi.plugins.export.agreement import Samples
from openmofi.plugins.export.commands import export

from ...encoders.conftest import TEXTS, drawn_image

pytest.importorskip("onnxscript")

from openmofi.plugins.export.checkpoint import export_checkpoint
from openmofi.plugins.export.job import export_encoder

pytestmark = pytest.mark.slow

SAMPLES = Samples("test images", [drawn_image(40 + seed, 50, seed) for seed in range(4)], TEXTS, paired=False)


@pytest.fixture(scope="module")
def clip(tiny_open_clip):
    return open_encoder(f"open_clip:{tiny_open_clip[0]}/{tiny_open_clip[1]}")


def files(bucket, out):
    return {name for name in bucket.listed(f"{out}/") if "/.openmofi" not in name}


def test_graphs_open_from_the_store(clip, bucket):
    measured = export_encoder(clip, "s3://data/onnx", ExportSettings(), SAMPLES)
    wanted = {"encoder.json", "image.onnx", "text.onnx", "tokenizer/tokenizer.json", "manifest.json"}
    assert files(bucket, "onnx") == {f"onnx/{name}" for name in wanted}
    found = open_encoder("onnx:s3://data/onnx")
    assert abs(found.embed_images(SAMPLES.images) - clip.embed_images(SAMPLES.images)).max() < 1e-4
    bucket.requests.clear()
    assert export_encoder(clip, "s3://data/onnx", ExportSettings(), SAMPLES) == measured
    assert not [path for method, path in bucket.requests if method == "PUT" and ".onnx" in path], "not made again"


def test_a_full_store_leaves_no_export_and_the_same_command_makes_one(clip, bucket, monkeypatch):
    from openmofi.storage import atomic

    usual = atomic._upload

    def failing(local, address):
        bucket.refuse = "QuotaExceeded" if address.endswith("encoder.json") else ""
        usual(local, address)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_upload", failing)
        with pytest.raises(OpenMofiError, match="quota"):
            export_encoder(clip, "s3://data/onnx", ExportSettings(), SAMPLES)
    bucket.refuse = ""
    assert "onnx/image.onnx" in files(bucket, "onnx")
    with pytest.raises(OpenMofiError, match=r"encoder\.json"):
        open_encoder("onnx:s3://data/onnx")
    export_encoder(clip, "s3://data/onnx", ExportSettings(), SAMPLES)
    assert open_encoder("onnx:s3://data/onnx").dim == clip.dim


def test_a_checkpoint_has_the_files_of_a_local_one(clip, bucket, tmp_path):
    settings = ExportSettings("open_clip")
    here = export_checkpoint(clip, tmp_path / "here", settings, SAMPLES)
    assert export_checkpoint(clip, "s3://data/there", settings, SAMPLES) == here
    for name in ("open_clip_model.safetensors", "open_clip_config.json", "README.md"):
        assert bucket.get(f"there/{name}") == (tmp_path / "here" / name).read_bytes()
    with pytest.raises(UsageError, match="outputs are local"):
        export(clip, "s3://data/pushed", format="open_clip", push="me/model")
    assert not files(bucket, "pushed")
