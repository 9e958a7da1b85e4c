"""Folding: branches and batch normalisation disappear, and what is computed stays."""

import copy

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from openmofi.encoders.networks import fold_batch_norm, folded, image_probe, merge_branches
from openmofi.plugins.encoders.backbones import Lite0
from openmofi.plugins.encoders.mobile_text import MobileText, MobileTextSettings, TextRepMixer


def trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, with statistics, scales and shifts as training leaves them: none of them 0 or 1."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for child in module.modules():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                child.running_mean.normal_(0, 0.3, generator=draw)
                child.running_var.uniform_(0.5, 2, generator=draw)
                child.weight.uniform_(0.5, 1.5, generator=draw)
                child.bias.normal_(0, 0.3, generator=draw)
        for name, parameter in module.named_parameters():
            if "layer_scale" in name:
                parameter.uniform_(0.5, 1.5, generator=draw)
    return module.eval().requires_grad_(False)


def norms(module: nn.Module) -> int:
    return sum(isinstance(child, nn.modules.batchnorm._BatchNorm) for child in module.modules())


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((found - expected).abs().max() <= 1e-5 * expected.abs().max())


@pytest.mark.parametrize(
    ("module", "size", "left"),
    [
        # Two normalisations of MCi0 stand before attention layers, not behind convolutions.
        (lambda: timm.create_model("fastvit_mci0", num_classes=0), 64, 2),
        (Lite0, 64, 0),
    ],
)
def test_image_towers(module, size, left):
    torch.manual_seed(0)
    plain = trained(module())
    made, pixels = folded(plain, image_probe(size)), torch.randn(3, 3, size, size)
    assert norms(made) == left < norms(plain)
    assert close(made(pixels), plain(pixels))
    assert not any(one.requires_grad or one.is_inference() for one in made.parameters())


@given(
    width=st.sampled_from([2, 6]),
    kernel=st.sampled_from([1, 3, 11]),
    length=st.integers(1, 13),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_a_text_mixer_is_one_convolution(width, kernel, length, seed):
    torch.manual_seed(seed)
    plain = trained(TextRepMixer(width, kernel), seed)
    made, values = copy.deepcopy(plain), torch.randn(2, width, length)
    made.reparameterize()
    made.reparameterize()  # a second time changes nothing
    assert norms(made) == 0
    assert [name for name, _ in made.named_parameters()] == ["merged.weight", "merged.bias"]
    assert close(made(values), plain(values))


def test_the_text_tower():
    torch.manual_seed(0)
    plain = trained(MobileText(MobileTextSettings(width=16, heads=2, layers=1, kernel=3, context=9, vocabulary=50)))
    tokens = torch.randint(0, 50, (4, 9))
    made = folded(plain, tokens[:2])
    assert norms(made) == 0 < norms(plain)
    assert close(made(tokens), plain(tokens))


class Odd(nn.Module):
    """Merges its branch wrongly."""

    def __init__(self):
        super().__init__()
        self.inner = Wrong()

    def forward(self, pixels):
        return self.inner(pixels).mean((2, 3))


class Wrong(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.extra = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), 0.0

    def reparameterize(self):
        self.extra = 1.0

    def forward(self, pixels):
        return self.bn(self.conv(pixels)) + self.extra


def test_a_step_that_changes_the_output_is_left_out():
    torch.manual_seed(0)
    plain = trained(Odd())
    made, pixels = folded(plain, image_probe(8)), torch.randn(2, 3, 8, 8)
    assert merge_branches(plain).inner.extra == 1.0
    assert (made.inner.extra, norms(made)) == (0.0, 0)
    assert close(made(pixels), plain(pixels))


def test_what_has_nothing_to_fold_stays_itself():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    assert folded(plain, image_probe(4)) is plain


def test_a_normalisation_without_statistics_is_an_error():
    with pytest.raises(ValueError, match="keeps no statistics"):
        fold_batch_norm(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)))
