import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from openmofi.objectives.contrastive import contrastive_loss


def pair(rows: int, dim: int = 8, seed: int = 0, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(normalize(torch.randn(rows, dim, dtype=dtype, generator=generator), dim=1) for _ in range(2))


def naive(image: torch.Tensor, text: torch.Tensor, scale: float, groups: list[int]) -> float:
    cosines = image.double().numpy() @ text.double().numpy().T * scale
    total = 0.0
    for logits in (cosines, cosines.T):
        for row in range(len(groups)):
            members = [c for c in range(len(groups)) if c == row or (groups[row] >= 0 and groups[c] == groups[row])]
            log_softmax = logits[row] - np.log(np.exp(logits[row] - logits[row].max()).sum()) - logits[row].max()
            total -= log_softmax[members].mean()
    return total / (2 * len(groups))


def test_without_groups_equals_open_clip():
    from open_clip.loss import ClipLoss

    image, text = pair(17, dtype=torch.float32)
    assert torch.allclose(contrastive_loss(image, text, 14.3), ClipLoss()(image, text, torch.tensor(14.3)))


@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4], [0, 0, 1, 1, 1], [-1, -1, 3, 3, -1], [7] * 5])
def test_groups_equal_the_definition(groups):
    image, text = pair(5)
    found = contrastive_loss(image, text, 10.0, torch.tensor(groups))
    assert found.item() == pytest.approx(naive(image, text, 10.0, groups), abs=1e-10)


def test_groups_of_one_change_nothing():
    image, text = pair(9)
    expected = contrastive_loss(image, text, 20.0)
    for groups in (torch.arange(9), torch.full((9,), -1)):
        assert torch.allclose(contrastive_loss(image, text, 20.0, groups), expected)


def test_order_of_pairs_and_sides_do_not_matter():
    image, text = pair(6)
    groups = torch.tensor([0, 0, 1, -1, 1, 2])
    expected = contrastive_loss(image, text, 5.0, groups)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert torch.allclose(contrastive_loss(image[order], text[order], 5.0, groups[order]), expected)
    assert torch.allclose(contrastive_loss(text, image, 5.0, groups), expected)


def test_gradient():
    image, text = (tensor.requires_grad_() for tensor in pair(4, 3))
    scale = torch.tensor(14.0, dtype=torch.float64, requires_grad=True)
    groups = torch.tensor([0, 0, -1, 2])
    assert torch.autograd.gradcheck(lambda i, t, s: contrastive_loss(i, t, s, groups), (image, text, scale))


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
    with pytest.raises(ValueError, match="groups"):
        contrastive_loss(image, text, 1.0, torch.zeros(3, dtype=torch.int64))
