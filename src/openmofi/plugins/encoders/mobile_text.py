"""MobileCLIP's text tower (MCt) to train: `mobile:mct`, `mobile:mct-tiny`, with sizes as `mobile:mct?layers=2`.

Vasu et al., MobileCLIP (arXiv 2311.17049), section 3.2: the twelve attention layers of CLIP's text tower become four
between two Text-RepMixer blocks, whose depthwise 1 × 11 convolutions mix neighbouring tokens. In training a mixer has
branches, for inference it is one convolution. 42.4 M parameters at width 512, as there.

What the paper leaves open is as its authors released it: attention sees the whole text (no causal mask) and the padding
too, a feed-forward part begins with another depthwise convolution, layer scales start at 1e-5, a text is read at its
end token after the last normalisation. Initial weights are CLIP's, and there is no dropout. Pointwise convolutions are
linear layers here, which are the same and can be quantised as such.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.checkpoint import checkpoint

from openmofi.encoders.tokens import OpenClipTokens
from openmofi.encoders.towers import Trunk, options_of
from openmofi.errors import UsageError, did_you_mean
from openmofi.quiet import quiet_logging

_LAYER_SCALE = 1e-5
_MLP_RATIO = 4


@dataclass(frozen=True)
class MobileTextSettings:
    """Sizes of a `MobileText`.

    Attributes:
        width: of the token embeddings, and of the output.
        heads: of each attention layer; a divisor of `width`.
        layers: attention layers.
        kernel: tokens that a mixer sees; odd.
        context: tokens of a text, padding included.
        vocabulary: number of tokens; the end token is the greatest, as in CLIP.
    """

    width: int = 512
    heads: int = 8
    layers: int = 4
    kernel: int = 11
    context: int = 77
    vocabulary: int = 49_408

    def __post_init__(self) -> None:
        if min(self.width, self.heads, self.kernel, self.vocabulary) < 1 or self.layers < 0 or self.context < 2:
            raise ValueError("sizes of a text tower are positive")
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} cannot be cut into {self.heads} heads")
        if self.kernel % 2 == 0:
            raise ValueError(f"a kernel of {self.kernel} has no middle; it must be odd")


PRESETS = {
    "mct": MobileTextSettings(),
    # For tests and the sample world: nearly all of its 3.4 M parameters are the vocabulary's.
    "mct-tiny": MobileTextSettings(width=64, heads=2, layers=1, kernel=5, context=32),
}
_OPTIONS = tuple(field.name for field in fields(MobileTextSettings) if field.name != "vocabulary")


class ConvNorm(nn.Module):
    """A depthwise convolution over tokens and its batch normalisation, (B, C, L) → (B, C, L)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.bn = nn.BatchNorm1d(width)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute the output; the class describes the shapes."""
        return self.bn(self.conv(values))


class TextRepMixer(nn.Module):
    """x + scale · (mixed(x) − norm(x)), (B, C, L) → (B, C, L); FastViT's RepMixer over tokens.

    `mixed` is a MobileOne block: a convolution, a pointwise one and a skip, each normalised. `reparameterize` makes one
    convolution of it all.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm, self.skip = nn.BatchNorm1d(width), nn.BatchNorm1d(width)
        self.mixer, self.point = ConvNorm(width, kernel), ConvNorm(width, 1)
        self.layer_scale = nn.Parameter(torch.full((width,), _LAYER_SCALE))
        self.merged: nn.Conv1d | None = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute the output; the class describes the shapes."""
        if self.merged is not None:
            return self.merged(values)
        mixed = self.mixer(values) + self.point(values) + self.skip(values) - self.norm(values)
        return values + self.layer_scale[:, None] * mixed

    @torch.no_grad()
    def reparameterize(self) -> None:
        """Replace the branches, with their statistics so far, by one convolution."""
        if self.merged is not None:
            return
        conv = self.mixer.conv
        width, kernel = conv.in_channels, int(conv.kernel_size[0])
        identity = torch.zeros_like(conv.weight)
        identity[:, :, kernel // 2] = 1
        parts = [
            _fused(conv.weight, self.mixer.bn),
            _fused(identity * self.point.conv.weight, self.point.bn),
            _fused(identity, self.skip),
        ]
        norm_weight, norm_bias = _fused(identity, self.norm)
        weight = sum((part[0] for part in parts), -norm_weight)
        bias = sum((part[1] for part in parts), -norm_bias)
        merged = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        merged.weight.copy_(identity + self.layer_scale[:, None, None] * weight)
        assert merged.bias is not None
        merged.bias.copy_(self.layer_scale * bias)
        self.merged = merged.to(conv.weight.device)
        del self.norm, self.skip, self.mixer, self.point, self.layer_scale


class MixerBlock(nn.Module):
    """A token mixer and a feed-forward part that begins with a convolution, (B, L, C) → (B, L, C)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.token_mixer = TextRepMixer(width, kernel)
        self.context = ConvNorm(width, kernel)
        self.fc1, self.fc2 = nn.Linear(width, width * _MLP_RATIO), nn.Linear(width * _MLP_RATIO, width)
        self.act = nn.GELU()
        self.layer_scale = nn.Parameter(torch.full((width,), _LAYER_SCALE))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Compute the output; the class describes the shapes."""
        mixed = self.token_mixer(tokens.transpose(1, 2))
        inner = self.context(mixed).transpose(1, 2)
        return mixed.transpose(1, 2) + self.layer_scale * self.fc2(self.act(self.fc1(inner)))


class MobileText(nn.Module):
    """Token ids (B, context) int64 → (B, width), not normalised; see the module."""

    def __init__(self, settings: MobileTextSettings) -> None:
        from timm.models.vision_transformer import Block

        super().__init__()
        width = settings.width
        self.token_embedding = nn.Embedding(settings.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(settings.context, width))
        self.first = MixerBlock(width, settings.kernel)
        self.blocks = nn.ModuleList(
            Block(width, settings.heads, _MLP_RATIO, qkv_bias=True) for _ in range(settings.layers)
        )
        self.last = MixerBlock(width, settings.kernel)
        self.ln_final = nn.LayerNorm(width)
        self.checkpointing = False
        self.apply(_initialise)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the attention layers' activations in the backward pass."""
        self.checkpointing = enable

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Compute the output; the class describes the shapes."""
        values = self.first(self.token_embedding(tokens) + self.positional_embedding)
        for block in self.blocks:
            if self.checkpointing and self.training and torch.is_grad_enabled():
                values = checkpoint(block, values, use_reentrant=False)
            else:
                values = block(values)
        values = self.ln_final(self.last(values))
        # The end token is the greatest id of a text.
        return values[torch.arange(len(values), device=values.device), tokens.argmax(dim=-1)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _fused(weight: torch.Tensor, norm: nn.BatchNorm1d) -> tuple[torch.Tensor, torch.Tensor]:
    """Fold `norm` into the convolution before it, which has no bias: weight (C, 1, K) and bias (C,)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    fused, bias = fuse_conv_bn_weights(
        weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return fused.detach(), bias.detach()


def text(rest: str, pretrained: str) -> Trunk:
    """See `towers.text_trunk`; random weights only, since Apple's may not be used beyond research."""
    if pretrained:
        raise UsageError(f"mobile:{rest} has no weights {pretrained!r}.", "Leave model.text.pretrained empty.")
    name, settings = _settings(rest)
    return rebuilt({"kind": "mobile", "name": name, "config": asdict(settings)})


def tokens(rest: str) -> OpenClipTokens:
    """See `towers.text_tokens`; CLIP's, by open_clip."""
    return _tokens(_settings(rest)[1].context)


def rebuilt(architecture: Mapping[str, Any]) -> Trunk:
    """See `towers.rebuilt`."""
    settings = MobileTextSettings(**architecture["config"])
    return Trunk(MobileText(settings), settings.width, architecture)


def stored_tokens(architecture: Mapping[str, Any], _folder: Path) -> OpenClipTokens:
    """See `towers.stored_tokens`; the vocabulary is open_clip's own file."""
    return _tokens(int(architecture["config"]["context"]))


def _tokens(context: int) -> OpenClipTokens:
    with quiet_logging():
        return OpenClipTokens(open_clip.SimpleTokenizer(context_length=context), False)


def _settings(rest: str) -> tuple[str, MobileTextSettings]:
    name, options = options_of(
        f"mobile:{rest}", rest, _OPTIONS, f"Give whole numbers for any of {', '.join(_OPTIONS)}."
    )
    if name not in PRESETS:
        raise UsageError(
            f"Unknown text tower mobile:{name}.{did_you_mean(name, PRESETS)}", f"Use one of: {', '.join(PRESETS)}."
        )
    try:
        return name, replace(PRESETS[name], **options)
    except ValueError as error:
        raise UsageError(f"'mobile:{rest}' cannot be built: {error}.", "Change its sizes.") from error
