"""Where ONNX graphs run: execution providers that are there, that give the CPU's features, or do not."""

import logging
import pickle

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from openmofi.api.given import check_placement
from openmofi.encoders import open_encoder
from openmofi.encoders.devices import graph_devices
from openmofi.encoders.folder import save_heads
from openmofi.encoders.heads import Head
from openmofi.errors import OpenMofiError, UsageError

Session = onnxruntime.InferenceSession
IMAGE = Image.effect_noise((90, 70), 80).convert("RGB")


@pytest.fixture
def provider(monkeypatch):
    """Installs an execution provider that runs on the CPU, and is off by a share of each value."""

    def install(name, error=0.0, loads=True):
        class Faked:
            def __init__(self, path, options, providers):
                self.session = Session(path, options, providers=["CPUExecutionProvider"])
                self.used = providers if loads else providers[-1:]

            def get_providers(self):
                return self.used

            def run(self, outputs, inputs):
                (rows,) = self.session.run(outputs, inputs)
                return [rows * (1 + error * (self.used[0] == name))]

        monkeypatch.setattr(onnxruntime, "InferenceSession", Faked)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [name, "CPUExecutionProvider"])

    return install


def test_auto_takes_the_provider_that_gives_the_features_of_the_cpu(provider):
    plain = open_encoder("tiny")
    provider("CoreMLExecutionProvider", error=1e-5)
    assert graph_devices() == ["coreml"]
    encoder = open_encoder("tiny", device="auto")
    assert (encoder.device, encoder.fingerprint) == ("coreml", plain.fingerprint)
    assert open_encoder("tiny", device="cpu").device == open_encoder("tiny").device == "cpu"
    # Images are normalised here, not on a device of PyTorch's.
    assert encoder.preprocess(IMAGE).dtype == np.float32
    np.testing.assert_allclose(encoder.embed_images([IMAGE]), plain.embed_images([IMAGE]), atol=1e-4)
    assert pickle.loads(pickle.dumps(encoder)).device == "coreml"
    assert encoder.to("cpu").device == "cpu"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"error": 0.2}, "its features differ from the CPU's by 0.2"),
        ({"error": np.nan}, "by nan"),
        ({"loads": False}, "not load"),
    ],
)
def test_a_wrong_provider_is_left_by_auto_and_refused_by_name(provider, caplog, options, says):
    provider("OpenVINOExecutionProvider", **options)
    with caplog.at_level(logging.WARNING):
        assert open_encoder("tiny", device="auto").device == "cpu"
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("tiny is not run on openvino: ")
    assert says in said
    with pytest.raises(OpenMofiError, match=f"tiny cannot run on openvino: .*{says}.*--device cpu"):
        open_encoder("tiny", device="openvino")


def test_a_provider_that_is_not_there_is_named_with_its_package(provider):
    provider("DmlExecutionProvider")
    assert graph_devices() == ["directml"]
    check_placement("directml", "fp32")
    with pytest.raises(UsageError, match=r"no OpenVINOExecutionProvider.*onnxruntime-openvino"):
        check_placement("openvino", "fp32")
    with pytest.raises(UsageError, match=r"tiny runs on cpu, directml here, not on coreml.*on a Mac"):
        open_encoder("tiny", device="coreml")
    with pytest.raises(UsageError, match="Unknown device 'directml'"):
        open_encoder("backbone:efficientnet-lite0+minilm", device="directml")


def test_heads_on_graphs_run_where_the_graphs_can(provider, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    base = open_encoder("tiny")
    heads = [Head.initial(dim, 8, seed=dim) for dim in (base.feature_dim, base.text_feature_dim)]
    save_heads(tmp_path / "heads", base=base, image_head=heads[0], text_head=heads[1], logit_scale=20.0, settings={})
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert open_encoder(f"run:{tmp_path}/heads", device="auto").device == "cpu"
    provider("CoreMLExecutionProvider")
    encoder = open_encoder(f"run:{tmp_path}/heads", device="auto")
    assert encoder.device == "coreml"
    assert encoder.embed_images([IMAGE]).shape == (1, 8)
    assert pickle.loads(pickle.dumps(encoder)).device == "coreml"
