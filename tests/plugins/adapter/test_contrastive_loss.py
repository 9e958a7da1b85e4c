import pytest
import torch
from torch.nn.functional import normalize

from openmofi.plugins.adapter.losses import contrastive_loss


def pair(rows: int, dim: int = 8, seed: int = 0, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(normalize(torch.randn(rows, dim, dtype=dtype, generator=generator), dim=1) for _ in range(2))


def test_it_equals_open_clip():
    from open_clip.loss import ClipLoss

    image, text = pair(17, dtype=torch.float32)
    assert torch.allclose(contrastive_loss(image, text, 14.3), ClipLoss()(image, text, torch.tensor(14.3)))


def test_order_of_pairs_and_sides_do_not_matter():
    image, text = pair(6)
    expected = contrastive_loss(image, text, 5.0)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert torch.allclose(contrastive_loss(image[order], text[order], 5.0), expected)
    assert torch.allclose(contrastive_loss(text, image, 5.0), expected)


def test_gradient():
    image, text = (tensor.requires_grad_() for tensor in pair(4, 3))
    scale = torch.tensor(14.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(contrastive_loss, (image, text, scale))


def test_empty_batch_is_zero():
    image, text = torch.zeros(0, 4, requires_grad=True), torch.zeros(0, 4)
    assert contrastive_loss(image, text, 1.0).item() == 0


def test_half_precision_gives_a_float32_loss():
    image, text = pair(8, dtype=torch.float32)
    found = contrastive_loss(image.bfloat16(), text.bfloat16(), 10.0)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(contrastive_loss(image, text, 10.0).item(), abs=0.1)


def test_wrong_shapes():
    image, text = pair(4)
    with pytest.raises(ValueError, match="must both be"):
        contrastive_loss(image, text[:3], 1.0)
