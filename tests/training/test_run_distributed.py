"""Runs on two and three ranks (gloo) against one process, a rank that dies, and resuming on other numbers of them."""

import contextlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from forked import Fork
from openmofi.config.recipes import recipe_yaml
from openmofi.storage import read_manifest
from openmofi.training.log import read_log
from terminal import PATIENCE

from ..dataset.conftest import make_world
from .rank_process import (
    CASES,
    SPREAD,
    case_recipe,
    chained,
    evaluated_recipe,
    go_on,
    hybrid_recipe,
    labels_recipe,
    resumed_recipe,
)
from .small_runs import losses, poisoned, same, stored, trained

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("rank_process.py")


def started(folder, make, world, task, local=None):
    """The processes of a task's ranks; `local` of them are said to share a node."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"LOCAL_WORLD_SIZE": f"{local}"} if local else {})
    return [Fork(SCRIPT, folder, make.dataset, make.clip, rank, world, task, env=environment) for rank in range(world)]


def on_ranks(folder, make, world, task, local=None):
    done = [child.finish() for child in started(folder, make, world, task, local)]
    assert [one.returncode for one in done] == [0] * world, "".join(one.stderr for one in done)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def ranks(folder, make):
    """All that needs two ranks or three and no particular order, in one start of them each."""
    make_world(folder / "world", shards=2, rows=60)
    on_ranks(folder, make, 2, "compare+skip+buffers+evaluate+labels")
    on_ranks(folder, make, 3, "compare+skip")
    return folder


@pytest.mark.parametrize("fsdp", [False, True])
@pytest.mark.parametrize("kind", CASES)
def test_ranks_together_learn_what_one_process_learns(ranks, make, tmp_path, kind, fsdp):
    trained(case_recipe(make, kind, fsdp), tmp_path)
    expected, lines = stored(tmp_path, 4), read_log(tmp_path)
    for world in (2, 3):
        many = ranks / f"{kind}-{fsdp}-{world}"
        found = stored(many, 4)
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            torch.testing.assert_close(
                found[name], value, rtol=1e-5, atol=1e-5, msg=f"{world} {name}", equal_nan=name.endswith(".recent")
            )
        # Gradient norms before clipping (which clips: see the optimiser) and at the embeddings, and all metrics.
        for one, other in zip(lines, read_log(many), strict=True):
            assert one.keys() == other.keys()
            for name in one.keys() - {"images_per_s", "data_wait", "memory_mib"}:
                assert other[name] == pytest.approx(one[name], rel=1e-4, abs=1e-5), (world, name)
    assert max(line["grad_norm/towers"] for line in lines) > 0.5


@pytest.mark.parametrize("fsdp", [False, True])
def test_a_loss_that_is_not_finite_on_one_rank_is_skipped_on_all(ranks, make, tmp_path, fsdp):
    with poisoned({1, 2}, row=11):
        trained(make("multi_sampled", run={"steps": 7, "checkpoint_every": 1}), tmp_path)
    for world in (2, 3):
        out = ranks / f"skipped-{fsdp}-{world}"
        assert [line["skipped"] for line in read_log(out)] == [0, 1, 1, 0, 0, 0, 0]
        expected, found = stored(tmp_path, 7), stored(out, 7)
        for name, value in expected.items():
            torch.testing.assert_close(
                found[name], value, rtol=1e-5, atol=1e-5, msg=f"{world} {name}", equal_nan=name.endswith(".recent")
            )
        told = {(ranks / f"stopped-{fsdp}-{world}-{rank}.txt").read_text()[:80] for rank in range(world)}
        assert told == {"The loss or its gradient was not finite 3 times in a row, the last time at step 4"[:80]}
        assert steps_of(ranks / f"stopped-{fsdp}-{world}") == [1]


@pytest.mark.parametrize("fsdp", [False, True])
def test_ranks_together_evaluate_what_one_process_evaluates(ranks, make, tmp_path, fsdp):
    alone = trained(evaluated_recipe(make, False), tmp_path)
    out = ranks / f"evaluated-{fsdp}-2"
    expected, logged = ([line for line in read_log(folder) if "lr" not in line] for folder in (tmp_path, out))
    assert [line["step"] for line in expected] == list(range(2, alone["steps"] + 1, 2))
    assert logged == [{name: pytest.approx(value, abs=1e-4) for name, value in line.items()} for line in expected]
    counts = read_manifest(out, "run").counts
    assert (counts["steps"], counts["best"]["step"]) == (alone["steps"], alone["best"]["step"])
    # Which rows are held out and trained on was found once, for all ranks, and as by one process.
    subsets = [sorted((folder / ".cache/subsets").glob("*.arrow")) for folder in (tmp_path, out)]
    assert len(subsets[0]) == 3
    assert [path.name for path in subsets[0]] == [path.name for path in subsets[1]]
    assert [path.read_bytes() for path in subsets[0]] == [path.read_bytes() for path in subsets[1]]
    encoders = [load_file(folder / "encoder/model.safetensors") for folder in (tmp_path, out)]
    for name, value in encoders[0].items():
        torch.testing.assert_close(encoders[1][name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_rank_0_builds_the_dataset_of_labels_for_all(ranks, make, tmp_path):
    trained(labels_recipe(make, ranks), tmp_path, labels=True)
    out = ranks / "labels-2"
    tables = [sorted((folder / ".dataset").rglob("*.parquet")) for folder in (out, tmp_path)]
    assert len(tables[0]) == 3
    assert [path.read_bytes() for path in tables[0]] == [path.read_bytes() for path in tables[1]]
    assert losses(out) == pytest.approx(losses(tmp_path), rel=1e-4)


def test_batch_statistics_are_the_same_after_a_resume(ranks):
    whole, parts = ranks / "buffers-whole", ranks / "buffers-parts"
    assert losses(whole) == losses(parts)
    assert same(stored(whole, 4), stored(parts, 4))


@pytest.fixture(scope="module")
def nodes(folder, make):
    """Two nodes of two ranks each, as far as the run knows."""
    on_ranks(folder, make, 4, "hybrid", local=2)
    return folder


@pytest.mark.parametrize("kind", CASES)
def test_two_nodes_of_two_ranks_learn_what_one_process_learns(nodes, make, tmp_path, kind):
    trained(hybrid_recipe(make, kind, "fp32", "ddp"), tmp_path)
    many = nodes / f"hybrid-{kind}-fp32-hsdp"
    expected, found = stored(tmp_path, 4), stored(many, 4)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-5, atol=1e-5, msg=name, equal_nan=name.endswith(".recent")
        )
    # Gradient norms count what both nodes hold once.
    for one, other in zip(read_log(tmp_path), read_log(many), strict=True):
        for name in one.keys() - {"images_per_s", "data_wait", "memory_mib"}:
            assert other[name] == pytest.approx(one[name], rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("kind", ["contrastive", "resnet"])
def test_what_is_gathered_in_bf16_learns_what_replicas_learn(nodes, kind):
    replicated, sharded, hybrid = (nodes / f"hybrid-{kind}-bf16-{spread}" for spread in SPREAD)
    for many in (sharded, hybrid):
        assert losses(many) == pytest.approx(losses(replicated), rel=1e-3)
        for one, other in zip(read_log(replicated), read_log(many), strict=True):
            assert other["grad_norm/towers"] == pytest.approx(one["grad_norm/towers"], rel=1e-2)
        # What is stored and updated is float32, and is no copy of bf16.
        weights = {name: value for name, value in stored(many, 4).items() if name.startswith("model.")}
        floats = [value for value in weights.values() if value.is_floating_point()]
        assert {value.dtype for value in floats} == {torch.float32}
        assert not any(torch.equal(value, value.bfloat16().float()) for value in floats if value.ndim > 1)


def test_nodes_with_other_numbers_of_ranks_go_on_with_the_same_bits(folder, make):
    out = folder / "nodes-chain"
    on_ranks(folder, make, 4, "chain:nodes-chain:hsdp:2", local=2)
    on_ranks(folder, make, 3, "chain:nodes-chain:fsdp:4")
    on_ranks(folder, make, 2, "chain:nodes-chain:hsdp:6", local=1)
    on_ranks(folder, make, 4, "chain:nodes-chain:hsdp:0", local=4)
    assert steps_of(out) == [2, 3, 4, 6, 8]
    for step in (2, 4, 6):
        assert same(stored(out, step), stored(out, step, "loaded")), step
    trained(chained(make, False), folder / "nodes-alone")
    assert losses(out) == pytest.approx(losses(folder / "nodes-alone"), rel=1e-5)


@pytest.mark.parametrize("wrapped", ["ddp", "fsdp"])
def test_other_numbers_of_ranks_go_on_with_the_same_bits(folder, make, wrapped):
    out, other = folder / wrapped, {"ddp": "fsdp", "fsdp": "ddp"}[wrapped]
    on_ranks(folder, make, 2, f"chain:{wrapped}:{wrapped}:2")
    on_ranks(folder, make, 3, f"chain:{wrapped}:{wrapped}:4")
    go_on(out, chained(make, wrapped == "fsdp"), 6)
    on_ranks(folder, make, 2, f"chain:{wrapped}:{other}:0")
    assert steps_of(out) == [2, 3, 4, 6, 8]
    for step in (2, 4, 6):
        saved, loaded = stored(out, step), stored(out, step, "loaded")
        assert same(saved, loaded), step
        assert any(key.endswith("exp_avg_sq") and value.abs().sum() > 0 for key, value in loaded.items())
    trained(chained(make, False), folder / f"{wrapped}-alone")
    assert losses(out) == pytest.approx(losses(folder / f"{wrapped}-alone"), rel=1e-5)


def test_a_rank_that_is_killed_ends_the_others(folder, make):
    first, second = (child.finish() for child in started(folder, make, 2, "patient"))
    assert second.returncode == -signal.SIGKILL
    assert first.returncode not in (0, None, -signal.SIGKILL), first.stderr
    # What rank 0 wrote until then is there, and whole.
    assert steps_of(folder / "killed") == [3]
    recipe = make("multi_sampled", run={"steps": 50})
    found = trained(replace(recipe, run=replace(recipe.run, log_every=10)), folder / "killed", resume=True)
    assert found["steps"] == 50


def steps_of(out):
    return sorted(int(path.name[5:]) for path in (out / "checkpoints").glob("step-*"))


def torchrun(recipe, out, *more):
    """Its agent is a fork, which starts the ranks' processes from nothing."""
    return Fork(
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "openmofi",
        "train",
        recipe,
        "-o",
        out,
        *more,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def rank_of(agent, rank, deadline=PATIENCE):
    """The process that is rank `rank` of a torchrun."""
    for _ in range(int(deadline * 10)):
        for child in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
            with contextlib.suppress(OSError):
                if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                    return int(child)
        time.sleep(0.1)
    raise AssertionError(f"no rank {rank}")


def logged(out, step, process, deadline=PATIENCE):
    """Wait until step `step` is in the log."""
    for _ in range(int(deadline * 20)):
        with contextlib.suppress(ValueError):
            if (out / "log.jsonl").is_file() and max(losses(out), default=0) >= step:
                return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the run does not get on")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the rank is found in /proc")
def test_a_rank_is_killed_under_torchrun_and_the_run_resumed(make, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_yaml(resumed_recipe(make)))
    run = torchrun(path, tmp_path / "killed")
    try:
        logged(tmp_path / "killed", 6, run)
        os.kill(rank_of(run.pid, 1), signal.SIGKILL)
        assert run.communicate()[1]
    finally:
        run.kill()
    # That the pipe came to its end says that no process is left: no rank, no worker, no server of workers.
    assert run.returncode not in (0, None)
    kept = steps_of(tmp_path / "killed")
    assert 4 <= max(kept) < 24
    # Killed while it wrote a checkpoint, as it were: what is half there is no checkpoint.
    half = tmp_path / "killed/checkpoints/.writing"
    half.mkdir(exist_ok=True)
    (half / "__0_0.distcp").write_bytes(b"half")
    done = torchrun(path, tmp_path / "killed", "--resume").finish()
    assert done.returncode == 0, done.stderr
    assert not half.exists()
    on_ranks(tmp_path, make, 2, "uninterrupted")
    assert losses(tmp_path / "killed") == losses(tmp_path / "uninterrupted")
    assert len(losses(tmp_path / "uninterrupted")) == 24
    assert same(stored(tmp_path / "killed", 24), stored(tmp_path / "uninterrupted", 24))
