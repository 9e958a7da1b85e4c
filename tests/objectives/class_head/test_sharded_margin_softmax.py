"""One process against two and three on gloo; run as a script, this file is one of those processes."""

import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
from rank_processes import run_ranks
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.nn.functional import normalize

from openmofi.objectives.margin_softmax import MarginSoftmax, shard_bounds
from openmofi.objectives.objective_settings import MarginSoftmaxSettings
from openmofi.training.optimization import RowAdagrad, RowAdamW

DIM, ROWS = 8, 12
CASES = {
    "exact": (22, {"implementation": "exact", "chunk": 5}),
    "exact-arcface": (22, {"implementation": "exact", "chunk": 500, "margin_type": "arcface", "sub_centers": 2}),
    "exact-filter": (22, {"implementation": "exact", "negative_filter": 0.2, "label_weights": "score"}),
    "exact-empty-rank": (4, {"implementation": "exact"}),
    "exact-one-class": (1, {"implementation": "exact"}),
    "sampled": (1001, {"implementation": "sampled", "sample_rate": 0.1}),
    "sampled-plain": (1001, {"implementation": "sampled", "sample_rate": 0.1, "logq": False, "chunk": 7}),
    "sampled-sub-centers": (22, {"implementation": "sampled", "sample_rate": 0.4, "sub_centers": 3}),
    "sampled-empty-rank": (4, {"implementation": "sampled", "sample_rate": 0.3}),
    "sampled-all": (22, {"implementation": "sampled", "sample_rate": 1.0}),
}


def a_head(name):
    classes, changed = CASES[name]
    return MarginSoftmax(classes, DIM, MarginSoftmaxSettings(**({"min_sampled": 1} | changed)), seed=3)


def a_batch(classes):
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(ROWS, DIM, generator=generator)
    labels = torch.randint(-1, classes + 1, (ROWS, 2), generator=generator)
    labels[0] = -1
    return raw, {"labels": labels, "label_weights": torch.rand(ROWS, 2, generator=generator)}


def step(name, rank, world):
    """Loss, metrics and gradients after a step from this rank's rows, and after a second one the weights."""
    head = a_head(name)
    raw, batch = a_batch(head.classes)
    own = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    # A large eps: AdamW would turn the last bits of a gradient near zero into a step.
    optimizer = RowAdagrad(head.parameters()) if name == "sampled" else RowAdamW(head.parameters(), lr=0.1, eps=0.1)
    # The encoder is a matrix that every rank has; its gradients are averaged as data parallelism does.
    encoder = torch.eye(DIM).requires_grad_()
    found = {}
    for _ in range(2):
        encoder.grad = head.weight.grad = None
        image = normalize(raw[own] @ encoder, dim=1)
        result = head({"image": image}, {key: value[own] for key, value in batch.items()})
        result.loss.backward()
        if world > 1:
            dist.all_reduce(encoder.grad)
            encoder.grad /= world
        found.setdefault("first_loss", result.loss.detach())
        found.setdefault("weight_gradient", head.weight.grad.to_dense().clone())
        optimizer.step()
    return found | {
        "encoder_gradient": encoder.grad,
        "weight": head.weight.detach(),
        "loss": result.loss.detach(),
        "metrics": dict(result.metrics),
        "state": dict(optimizer.state[head.weight]),
    }


def whole_state(found, rows):
    """What a checkpoint of the head holds, over the memory of `found`."""
    parts = {"weight": found["weight"], **{f"state.{key}": value for key, value in found["state"].items()}}
    if not dist.is_initialized():
        return parts
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    shapes = {key: torch.empty(rows, *value.shape[1:], device="meta") for key, value in parts.items()}
    return {
        key: DTensor.from_local(
            value.detach(), mesh, [Shard(0)], run_check=False, shape=shapes[key].shape, stride=shapes[key].stride()
        )
        for key, value in parts.items()
    }


def zeroed(found):
    start, stop = shard_bounds(CASES["exact"][0])
    return {
        "weight": found["weight"].new_zeros(stop - start, *found["weight"].shape[1:]),
        "state": {key: value.new_zeros(stop - start, *value.shape[1:]) for key, value in found["state"].items()},
    }


def process(folder, rank):
    """What a child process does: with two ranks and with three, every case; saves with two, loads with three."""
    torch.set_num_threads(1)
    for world in (2, 3):
        if rank >= world:
            continue
        dist.init_process_group("gloo", init_method=f"file://{folder}/group{world}", rank=rank, world_size=world)
        found = {name: step(name, rank, world) for name in CASES}
        if world == 2:
            checkpoint.save(whole_state(found["exact"], CASES["exact"][0]), checkpoint_id=f"{folder}/saved")
        elif world == 3:
            found["loaded"] = zeroed(found["exact"])
            checkpoint.load(whole_state(found["loaded"], CASES["exact"][0]), checkpoint_id=f"{folder}/saved")
        torch.save(found, f"{folder}/{world}-{rank}.pt")
        dist.barrier()
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """world → what each of its ranks found; and the folder of the state that two ranks saved."""
    folder = tmp_path_factory.mktemp("sharded")
    run_ranks(__file__, folder)
    found = {world: [torch.load(folder / f"{world}-{rank}.pt") for rank in range(world)] for world in (2, 3)}
    return found | {1: [{name: step(name, 0, 1) for name in CASES}], "saved": folder / "saved"}


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_ranks_together_find_what_one_process_finds(runs, name, world):
    alone, ranks = runs[1][0][name], [rank[name] for rank in runs[world]]
    for rank in ranks:
        for key in ("first_loss", "loss", "encoder_gradient", "metrics"):
            torch.testing.assert_close(rank[key], alone[key], rtol=1e-5, atol=1e-5)
    for key in ("weight_gradient", "weight"):
        torch.testing.assert_close(torch.cat([rank[key] for rank in ranks]), alone[key], rtol=1e-5, atol=1e-5)
    block = -(-CASES[name][0] // world)
    assert [len(rank["weight"]) for rank in ranks] == [
        len(range(CASES[name][0])[number * block : (number + 1) * block]) for number in range(world)
    ]


@pytest.mark.slow
def test_state_saved_by_two_ranks_is_the_same_on_three_and_on_one(runs):
    parts = [rank["exact"] for rank in runs[2]]
    expected = {"weight": torch.cat([part["weight"] for part in parts])}
    expected |= {key: torch.cat([part["state"][key] for part in parts]) for key in parts[0]["state"]}
    on_three = [rank["loaded"] for rank in runs[3]]
    on_one = zeroed(runs[1][0]["exact"])
    checkpoint.load(whole_state(on_one, CASES["exact"][0]), checkpoint_id=runs["saved"])
    for loaded in (on_three, [on_one]):
        assert torch.equal(torch.cat([part["weight"] for part in loaded]), expected["weight"])
        for key in ("steps", "exp_avg", "exp_avg_sq"):
            assert torch.equal(torch.cat([part["state"][key] for part in loaded]), expected[key])
    assert expected["exp_avg"].abs().sum() > 0


def test_initial_rows_are_the_same_on_any_number_of_ranks(monkeypatch):
    whole = a_head("sampled").weight
    for world in (2, 3):
        parts = []
        for rank in range(world):
            monkeypatch.setattr("openmofi.objectives.margin_softmax.world_size", lambda world=world: world)
            monkeypatch.setattr("openmofi.objectives.margin_softmax.rank", lambda rank=rank: rank)
            parts.append(a_head("sampled").weight)
        assert torch.equal(torch.cat(parts), whole)


if __name__ == "__main__":
    process(Path(sys.argv[1]), int(sys.argv[2]))
