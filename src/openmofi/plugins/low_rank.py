"""Low-rank adapters of a tower's weights (LoRA, https://arxiv.org/abs/2106.09685), merged into plain ones at the end.

- Entry points: `openmofi.adapters` `low_rank`
- Needs: nothing
- Use: `openmofi train finetune_lora …`, or `model.image.lora: {rank: 16, alpha: 16}` in a recipe
- Never: changes what a tower computes before the first step
- Tests: `tests/training/model/test_adaptation.py`, `tests/training/test_finetuning.py`
- Documentation: `docs/training.md`
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.parametrize import is_parametrized, register_parametrization, remove_parametrizations

from openmofi.training.model.adaptation import matching
from openmofi.training.model.towers import Tower
from openmofi.training.recipe import Lora


class LowRank(nn.Module):
    """A weight W of any shape, seen as a matrix of its first dimension × the others → W + alpha / rank · B A.

    A is drawn as of LoRA's authors (github.com/microsoft/LoRA), from torch's global generator; B is zero.

    Args:
        weight: W, which stays as it is.
        settings: of `rank` r: A is (r, columns), B (rows, r).
    """

    def __init__(self, weight: Tensor, settings: Lora) -> None:
        super().__init__()
        self.factor, self.dropout = settings.alpha / settings.rank, settings.dropout
        self.a = nn.Parameter(weight.new_empty(settings.rank, weight[0].numel()))
        self.b = nn.Parameter(weight.new_zeros(len(weight), settings.rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Of the shape of `weight`."""
        return weight + self.factor * (self.b @ dropout(self.a, self.dropout, self.training)).view(weight.shape)


def adapt(tower: Tower, settings: Lora, seed: int, setting: str) -> None:
    """Freeze a tower's trunk and give its weights adapters: as parametrizations of torch, which any module takes.

    Args:
        tower: before training; what it computes stays as it is, to rounding: without gradients PyTorch may choose
            another product for a weight that is computed (`mm` or `bmm`, by whether a weight requires a gradient).
        settings: with a rank.
        seed: of the adapters.
        setting: where they are from, for the error.

    Raises:
        UsageError: a pattern matches no weight that takes an adapter.
    """
    tower.trunk.requires_grad_(False)
    # Names end in `weight` in linear layers, convolutions and attention (`in_proj_weight`); tables of embeddings that
    # are looked up are no product.
    weights = {
        f"{place}.{name}": (module, name)
        for place, module in tower.named_modules()
        if place.startswith("trunk") and not isinstance(module, nn.Embedding)
        for name, value in module.named_parameters(recurse=False)
        if name.endswith("weight")
        and value.ndim > 1
        and settings.rank * (len(value) + value[0].numel()) < value.numel()
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for chosen in matching(weights, settings.targets, setting):
            module, name = weights[chosen]
            register_parametrization(module, name, LowRank(getattr(module, name), settings))


def merge(model: nn.Module) -> None:
    """Replace adapted weights by what they are: plain ones, under the names that they had."""
    for module in list(model.modules()):
        chains: Any = module.parametrizations if is_parametrized(module) else {}
        for name in [name for name, chain in chains.items() if isinstance(chain[0], LowRank)]:
            remove_parametrizations(module, name)
