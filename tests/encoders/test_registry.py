import pytest

from openmofi.encoders import open_encoder, registry
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
    monkeypatch.setattr(registry, "_added", lambda _: lambda spec, rest, device, bases: placed.append(device))
    monkeypatch.setattr(registry, "_open_folder", lambda spec, rest, device, bases: placed.append(device))
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        for spec in ("timm:test_vit", "onnx:folder"):
            with pytest.raises(AttributeError):  # what the openers here return is no encoder
                open_encoder(spec, device="auto")
    assert placed == ["cpu", "auto", "cuda", "auto"]


def test_a_size_that_a_model_cannot_take_is_told_when_it_is_built():
    pytest.importorskip("timm")
    with pytest.raises(UsageError, match=r"takes no images of 65 px|cannot be built"):
        image_trunk("timm:test_vit", size=65)
    assert image_trunk("timm:test_vit", size=64).module.training
