"""The fusion decoder as the training loop takes it: a loss for each mention, and their mean as the objective."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult
from openmofi.plugins.fusion.build import Fusion
from openmofi.plugins.fusion.packing import segment_log_softmax
from openmofi.plugins.fusion.titles import title_losses
from openmofi.plugins.fusion.training.data import LinkExamples, TrainingMention
from openmofi.plugins.fusion.training.recipe import LinkRecipe
from openmofi.training.grad_cache import Forward
from openmofi.training.model.freeze import freeze
from openmofi.training.optimization import Optimizer, dense_optimizer, grouped

_PRETRAINED = ("encoder.", "embedding.")


class MeanLoss(nn.Module):
    """The mean of the mentions' losses, which are the model's outputs; an `Objective`."""

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """`loss` and `right`: (B,)."""
        return ObjectiveResult(embeddings["loss"].mean(), {"accuracy": embeddings["right"].detach().mean()})

    def sharded_parameters(self) -> dict[str, int]:
        """None."""
        return {}

    def after_step(self) -> None:
        """Nothing."""


def fusion_forward(fusion: Fusion, data: LinkExamples, device: torch.device, *, bf16: bool) -> Forward:
    """Batch of rows → `loss` (B,) float32, `right` (B,): 1 where the answer is right (`select` only)."""
    generates = fusion.tokens.settings.head == "generate"
    pad = fusion.tokens.markers.pad

    def forward(batch: Batch) -> Mapping[str, Tensor]:
        packed, mentions = data.packed(batch)
        packed = packed.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            if generates:
                loss = title_losses(fusion.model, packed, data.titles(mentions), pad)
                return {"loss": loss, "right": torch.full_like(loss, torch.nan)}
            scores = fusion.model(packed, pad)
        return select_losses(scores, packed.mention, mentions, nil=data.nil)

    return forward


def select_losses(scores: Tensor, mention: Tensor, mentions: list[TrainingMention], *, nil: bool) -> dict[str, Tensor]:
    """Softmax cross-entropy of each mention over its candidates and, if there are such mentions, NIL.

    Args:
        scores: (N + M,), see `FusionModel.select`.
        mention: (N,) int64.
        asked: the M mentions.
        nil: whether NIL takes part.
    """
    count, device = len(mentions), scores.device
    flat = scores.float() if nil else scores[: len(mention)].float()
    segment = torch.cat([mention, torch.arange(count, device=device)]) if nil else mention
    logs = segment_log_softmax(flat, segment, count)
    sizes = torch.tensor([len(drawn.candidates) for drawn in mentions])
    index = sizes.cumsum(0) - sizes + torch.tensor([drawn.target for drawn in mentions])
    is_nil = torch.tensor([drawn.target for drawn in mentions]) == sizes
    index = torch.where(is_nil, len(mention) + torch.arange(count), index).to(device)
    best = logs.new_full((count,), -torch.inf).scatter_reduce(0, segment, logs.detach(), "amax")
    chosen = logs[index]
    return {"loss": -chosen, "right": (chosen.detach() >= best).float()}


def fusion_optimizer(fusion: Fusion, recipe: LinkRecipe) -> Optimizer:
    """AdamW; what was pretrained learns at `text_lr_multiplier` of the rate, and what has one dimension is not decayed.

    Raises:
        UsageError: a pattern of `freeze` matches nothing.
    """
    freeze(fusion.model, recipe.freeze, "freeze")
    settings = recipe.optimizer
    whole = recipe.model.base.startswith("hf:") and "t5" in fusion.configs
    pretrained = () if recipe.model.base == "scratch" else (*_PRETRAINED, *(("decoder.", "output.") if whole else ()))
    groups = grouped(
        (
            name,
            parameter,
            settings.text_lr_multiplier if name.startswith(pretrained) else 1.0,
            settings.weight_decay if parameter.ndim > 1 else 0.0,
        )
        for name, parameter in fusion.model.named_parameters()
    )
    return dense_optimizer(groups, settings, settings.clip)
