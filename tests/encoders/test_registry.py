import numpy as np
import pytest

from openmofi.encoders import open_encoder, registry
from openmofi.encoders.arrays import within_memory
from openmofi.encoders.towers import image_trunk
from openmofi.errors import UsageError

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("device", ["gpu", "cuda:x"])
def test_a_device_that_there_is_not_is_named(device):
    with pytest.raises(UsageError, match=f"Unknown device '{device}'"):
        open_encoder("timm:test_vit", device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs: no CUDA")
def test_without_cuda_there_is_no_cuda():
    with pytest.raises(UsageError, match="No CUDA device here for 'cuda'"):
        open_encoder("timm:test_vit", device="cuda")


def test_auto_is_the_gpu_where_there_is_one(monkeypatch):
    placed = []
    monkeypatch.setitem(registry._OPENERS, "timm", lambda spec, rest, device, bases: placed.append(device))
    monkeypatch.setitem(registry._OPENERS, "onnx", lambda spec, rest, device, bases: placed.append(device))
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        for spec in ("timm:test_vit", "onnx:folder"):
            with pytest.raises(TypeError):  # what the openers here return is no encoder
                open_encoder(spec, device="auto")
    assert placed == ["cpu", "cpu", "cuda", "cpu"]


def test_a_batch_that_the_device_cannot_hold_is_done_in_halves(caplog):
    sizes = []

    def tower(batch):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * batch

    batch = np.arange(10, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(within_memory(tower, batch), 2 * batch)
    assert sizes == [10, 5, 2, 3, 5, 2, 3]
    assert "too little memory for a batch of 10" in caplog.text
    with pytest.raises(torch.OutOfMemoryError):
        within_memory(lambda batch: (_ for _ in ()).throw(torch.OutOfMemoryError("no room")), batch[:1])
    with pytest.raises(RuntimeError, match="other"):
        within_memory(lambda batch: (_ for _ in ()).throw(RuntimeError("other")), batch)


def test_a_size_that_a_model_cannot_take_is_told_when_it_is_built():
    pytest.importorskip("timm")
    with pytest.raises(UsageError, match=r"takes no images of 65 px|cannot be built"):
        image_trunk("timm:test_vit", size=65)
    assert image_trunk("timm:test_vit", size=64).module.training
