"""Towers sharded over ranks by FSDP2: over all of them, or over those of a node, replicated over the nodes (HSDP).

- Entry points: `openmofi.adapters` `shard`
- Needs: `openmofi[train]`
- Use: `run.fsdp: true` in a recipe, with `run.shard_over: node` on several nodes
- Never: changes the weights that are stored or updated, which are float32 whatever is gathered
- Tests: `tests/training/test_run_distributed.py`, `tests/plugins/test_sharded_towers.py`
- Documentation: `docs/training.md`
"""

import os

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from openmofi.errors import UsageError
from openmofi.objectives.collectives import max_over_ranks
from openmofi.training.distributed import Ranks
from openmofi.training.recipe import RunSettings

# With autocast alone, ranks would exchange float32 weights, and autograd would keep the bf16 copies of each block until
# the backward pass: half of the whole model on every rank. Blocks that are gathered in bf16 need no copies. What
# autocast computes in float32 stays so: normalisations and scales that are modules, and what is outside of blocks, such
# as positions, on which the precision of a transformer's residual stream depends. Inputs are not cast, for the same
# reason. So products see the numbers that they see with DDP; scales that a block owns beside its weights are bf16.
_BF16 = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)


def shard(model: nn.Module, ranks: Ranks, run: RunSettings) -> nn.Module:
    """Shard the towers block by block; gradients are averaged over all ranks in float32.

    Args:
        model: is changed and returned; its parameters become DTensors.
        ranks: with a mesh.
        run: `precision` and `shard_over`.

    Raises:
        UsageError: `shard_over` is `node`, and it is not known which ranks share one, or nodes differ in their number.
    """
    mesh = ranks.mesh if run.shard_over == "all" else _of_nodes(ranks)
    for block in blocks_of(model):
        if run.precision == "bf16":
            if small := [module for module in block.modules() if module is not block and is_small(module)]:
                fully_shard(small, mesh=mesh)
            fully_shard(block, mesh=mesh, mp_policy=_BF16)
        else:
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Children of every module list or sequence of equal blocks: transformer layers, convolutional stages."""
    blocks: list[nn.Module] = []
    for module in model.modules():
        children = list(module.children()) if isinstance(module, nn.ModuleList | nn.Sequential) else []
        if len(children) > 1 and len({type(child) for child in children}) == 1 and list(children[0].parameters()):
            inside = {id(inner) for outer in blocks for inner in outer.modules()}
            blocks += [child for child in children if id(child) not in inside]
    return blocks


def is_small(module: nn.Module) -> bool:
    """Whether a module has parameters of its own, and these and all inside are vectors: normalisations and scales."""
    own = list(module.parameters(recurse=False))
    # A scale a channel may have the form (channels, 1, 1).
    return bool(own) and all(value.numel() == max((1, *value.shape[:1])) for value in module.parameters())


def ranks_of_node() -> int:
    """Number of ranks on this node, as `torchrun` says it; 0 where nothing does."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "0"))


def _of_nodes(ranks: Ranks) -> DeviceMesh:
    """Nodes × the ranks of each, which `torchrun` numbers node by node."""
    local = ranks_of_node()
    most, least = max_over_ranks(torch.tensor([local, -local], device=ranks.device)).tolist()
    if not local or most != -least or ranks.world % local:
        raise UsageError(
            f"run.shard_over: node needs as many ranks on each node; {ranks.world} ranks are not split into nodes of "
            f"{local}.",
            "Start them with torchrun --nnodes N --nproc-per-node M, or set run.shard_over: all.",
        )
    return init_device_mesh(ranks.device.type, (ranks.world // local, local), mesh_dim_names=("nodes", "ranks"))
