"""Which parts of a model are sharded together, and how ranks are split into nodes."""

import pytest
import torch
from torch import nn

from openmofi.errors import UsageError
from openmofi.plugins import sharded_towers
from openmofi.plugins.sharded_towers import blocks_of, is_small, shard
from openmofi.training.distributed import Ranks
from openmofi.training.recipe import RunSettings


def test_blocks_are_the_outermost_lists_of_equal_modules():
    block = [nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(3)]
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(*block), nn.LayerNorm(2), nn.Sequential(nn.GELU(), nn.GELU()))
    assert blocks_of(model) == block


def test_vectors_alone_are_small():
    assert is_small(nn.LayerNorm(3))
    assert is_small(nn.BatchNorm2d(3))
    assert not is_small(nn.Linear(3, 1))
    assert not is_small(nn.Sequential(nn.LayerNorm(3)))


def test_scales_of_channels_are_small_and_modules_with_weights_inside_are_not():
    scale, block = nn.Module(), nn.Module()
    scale.gamma = nn.Parameter(torch.ones(3, 1, 1))
    assert is_small(scale)
    # As ConvNeXt's blocks, which own a scale beside their layers.
    block.gamma, block.layer = nn.Parameter(torch.ones(3)), nn.Linear(3, 3)
    assert not is_small(block)


@pytest.mark.parametrize(("world", "local"), [(4, ""), (4, "3"), (3, "2"), (2, "4")])
def test_ranks_that_are_not_split_into_equal_nodes_are_refused(world, local, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", local or "0")
    if not local:
        monkeypatch.delenv("LOCAL_WORLD_SIZE")
    ranks = Ranks(0, world, torch.device("cpu"), None)
    with pytest.raises(UsageError, match=f"{world} ranks are not split into nodes of {local or 0}") as refused:
        shard(nn.Linear(2, 2), ranks, RunSettings(fsdp=True, shard_over="node"))
    assert "run.shard_over: all" in refused.value.hint


def test_nodes_that_differ_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    # What the greatest of 2 and 1, and of -2 and -1, is over the ranks of two nodes.
    monkeypatch.setattr(sharded_towers, "max_over_ranks", lambda values: torch.tensor([2, -1]))
    with pytest.raises(UsageError, match="as many ranks on each node"):
        shard(nn.Linear(2, 2), Ranks(0, 4, torch.device("cpu"), None), RunSettings(fsdp=True, shard_over="node"))
