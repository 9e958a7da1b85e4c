"""The plan of a run's memory: fake passes against real ones, losses against what they take, recipes against GPUs."""

import json
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import pytest
import torch
from small_model import SMALL_MODEL
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import normalize

from openmofi.config import changed
from openmofi.config.recipes import recipe_names
from openmofi.dataset.tables import Folder
from openmofi.errors import UsageError
from openmofi.extensions import extension
from openmofi.objectives.contrastive import Contrastive
from openmofi.objectives.margin_softmax import MarginSoftmax
from openmofi.plugins.planner import fake_passes, plan_memory
from openmofi.plugins.planner.fake_passes import LiveMemory, Towers, measured_towers, passes
from openmofi.plugins.planner.plan_memory import GPUS, planned, require_fit
from openmofi.plugins.sharded_towers import blocks_of, is_small
from openmofi.training.model import build_model, inputs_of
from openmofi.training.recipe import Recipe
from openmofi.training.recipe.rules import RECIPES, load_recipe
from studies import recipe_path
from terminal import in_process

GIB = 1 << 30
SMALL = changed(
    Recipe(),
    {
        "model.image.spec": SMALL_MODEL,
        "model.text.spec": "mobile:mct?layers=2&width=256",
        "model.dim": 32,
        "objectives.contrastive.weight": 1.0,
        "data.batch_size": 64,
    },
)
TOWERS = Towers(GIB, GIB, GIB // 8, 1000, ((2, 2 << 20), (4096, 40 * GIB)), 10**9, 3 * 10**9)


def kept_by(model, batch):
    """Bytes of what autograd saves of real tensors, each storage once, and of the outputs."""
    before = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers(), *batch.values())}
    found = {}

    def note(value):
        found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        outputs = list(model(batch).values())
    for value in outputs:
        note(value)
    return sum(size for place, size in found.items() if place not in before)


def test_fake_passes_keep_what_real_ones_keep():
    inputs = inputs_of(SMALL.model)
    model = build_model(SMALL.model, inputs, seed=0)
    batch = fake_passes._batch(SMALL, inputs, 16)
    expected = kept_by(model, batch)
    real = passes(model, batch, bf16=False)
    with FakeTensorMode():
        fake_passes._make_fake(model)
        fake = passes(model, fake_passes._batch(SMALL, inputs, 16), bf16=False)
    assert fake == real
    assert fake[0] == pytest.approx(expected, rel=0.05)
    assert fake[1] >= fake[0]


@pytest.mark.slow
def test_checkpointed_passes_are_smaller_and_the_line_between_two_sizes_is_no_less_than_the_truth():
    inputs, found = inputs_of(SMALL.model), measured_towers(SMALL, inputs_of(SMALL.model))
    checkpointed = changed(SMALL, {"model.image.gradient_checkpointing": True})
    assert measured_towers(checkpointed, inputs).peak(64) < found.peak(64)
    middle = measured_towers(changed(SMALL, {"data.batch_size": 24}), inputs).peak(24)
    assert middle <= found.peak(24) <= 1.25 * middle
    # Two products in the backward pass for each of the forward one, and no gradient of images.
    assert 2.8 < found.both / found.forward < 3.1
    assert found.weights == sum(value.nbytes for value in build_model(SMALL.model, inputs, seed=0).parameters())


@pytest.mark.parametrize(
    ("head", "chunk"), [("exact", 1024), ("sampled", 1024), ("contrastive", 0), ("contrastive", 128)]
)
def test_losses_take_no_more_than_is_planned(head, chunk, monkeypatch):
    rows, classes, dim = 1024, 20_000, 64
    changes = {"data.batch_size": rows, "model.dim": dim, "optimizer.head": "row-adagrad"}
    batch = {"labels": torch.randint(0, classes, (rows, 8)), "text_id": torch.arange(rows)}
    if head == "contrastive":
        recipe = changed(Recipe(), changes | {f"objectives.{head}.weight": 1.0, f"objectives.{head}.chunk": chunk})
        objective, part = Contrastive(recipe.objectives.contrastive), "other_losses"
    else:
        # As at full size, where the logits are too many to be kept.
        monkeypatch.setattr("openmofi.objectives.margin_softmax._KEPT_LOGITS", 0)
        keys = {"weight": 1.0, "implementation": head, "chunk": chunk, "min_sampled": 10_000}
        recipe = changed(Recipe(), changes | {f"objectives.margin_softmax.{key}": value for key, value in keys.items()})
        objective, part = MarginSoftmax(classes, dim, recipe.objectives.margin_softmax, seed=0), "class_head"
    leaves = {name: normalize(torch.randn(rows, dim), dim=1).requires_grad_() for name in ("image", "text")}
    with LiveMemory([*leaves.values(), *objective.buffers(), *objective.parameters(), *batch.values()]) as memory:
        objective(leaves, batch).loss.backward()
    expected = planned(recipe, TOWERS, GPUS["h100"], gpus=1, classes=classes).memory[part]
    of_weights = sum(value.nbytes for value in objective.parameters())
    assert 0.5 * expected < memory.peak + of_weights <= expected


def test_what_a_rank_holds_of_the_towers():
    recipe = changed(Recipe(), {"data.batch_size": 4096, "optimizer.ema": 0.99})
    alone, replicated, sharded = (
        planned(changed(recipe, {"run.fsdp": fsdp}), TOWERS, GPUS["a100-80gb"], gpus=gpus, classes=1).memory
        for gpus, fsdp in ((1, True), (8, False), (8, True))
    )
    names = ("parameters", "gradients", "optimizer", "averages")
    assert [alone[name] for name in names] == [GIB, GIB, 2 * GIB, GIB]
    assert [replicated[name] for name in names] == [GIB, 2 * GIB, 2 * GIB, GIB]
    assert [sharded[name] for name in names] == [GIB // 4, GIB // 4, GIB // 4, GIB // 8]


def test_a_rank_holds_its_node_s_share_where_nodes_are_replicas():
    recipe = changed(Recipe(), {"data.batch_size": 4096, "run.fsdp": True, "optimizer.ema": 0.99})
    held = {
        (over, nodes): planned(
            changed(recipe, {"run.shard_over": over}), TOWERS, GPUS["h100"], gpus=16, classes=1, nodes=nodes
        ).memory
        for over, nodes in (("all", 2), ("node", 2), ("node", 4), ("node", 16))
    }
    assert held["all", 2]["optimizer"] == 2 * GIB // 16
    assert held["node", 2]["optimizer"] == 2 * GIB // 8
    assert held["node", 4] == planned(recipe, TOWERS, GPUS["h100"], gpus=4, classes=1).memory | {
        name: held["node", 4][name] for name in ("batch", "activations")
    }
    # A node of one GPU has whole replicas.
    assert held["node", 16]["parameters"] == GIB
    assert held["node", 2]["activations"] == held["all", 2]["activations"]


def test_weights_that_are_gathered_in_bf16_leave_no_copies():
    recipe = changed(SMALL, {"run.precision": "bf16"})
    inputs = inputs_of(recipe.model)
    model, batch = build_model(recipe.model, inputs, seed=0), fake_passes._batch(recipe, inputs, 2)
    before = passes(model, batch, bf16=True)[0]
    towers = measured_towers(recipe, inputs)
    for block in blocks_of(model):
        for module in block.modules():
            if not is_small(module):
                for parameter in module.parameters(recurse=False):
                    parameter.grad, parameter.data = None, parameter.data.bfloat16()
    saved = before - passes(model, batch, bf16=True)[0]
    assert saved > 0
    assert saved == pytest.approx(towers.copied, rel=0.01)
    assert 0 < towers.halved < towers.copied <= towers.weights // 2
    plans = [
        planned(changed(recipe, {"run.precision": precision, "run.fsdp": True}), found, GPUS["h100"], gpus=8, classes=1)
        for precision, found in (("fp32", replace(towers, halved=0, copied=0)), ("bf16", towers))
    ]
    for part, spared in (("parameters", towers.halved), ("activations", towers.copied), ("gradients", 0)):
        assert plans[0].memory[part] - plans[1].memory[part] == spared
    assert measured_towers(SMALL, inputs).copied == 0
    again = changed(recipe, {"model.image.gradient_checkpointing": True, "model.text.gradient_checkpointing": True})
    assert measured_towers(again, inputs).copied == 0
    frozen = changed(recipe, {"model.image.freeze": ("trunk.*",), "model.text.freeze": ("trunk.*",)})
    assert measured_towers(frozen, inputs).copied == 0


def test_nodes_are_multiplied_by_their_gpus():
    arguments = ("train", "entity_head", "--plan", "--classes", "1000", "--json", "--gpus", "2")
    one, two = (json.loads(in_process(*arguments, *more).stdout) for more in ((), ("--nodes", "2")))
    assert (one["gpus"], two["gpus"]) == (2, 4)
    assert two["micro_batch"] == one["micro_batch"] // 2


def test_what_does_not_fit_says_what_does_and_is_refused(monkeypatch):
    recipe = changed(Recipe(), {"data.batch_size": 32_768, "name": "large"})
    found = planned(recipe, TOWERS, GPUS["a100-40gb"], gpus=8, classes=1)
    assert found.fix == {"run.accumulate": 2}
    assert found.verdict.startswith("large with 4,096 rows at a time does not fit 8 × a100-40gb: 8.6 GiB")
    assert found.hint == "Add --set run.accumulate=2."
    fitting = planned(changed(recipe, found.fix), TOWERS, GPUS["a100-40gb"], gpus=8, classes=1)
    assert (fitting.left > 0, fitting.hint, fitting.micro_batch) == (True, "", 2048)
    assert fitting.flops == 4096 * 4 * 10**9
    with pytest.raises(UsageError, match="cannot be shared"):
        planned(recipe, TOWERS, GPUS["h100"], gpus=7, classes=1)
    heavy = replace(TOWERS, weights=30 * GIB, trained=30 * GIB)
    assert planned(recipe, heavy, GPUS["a100-80gb"], gpus=8, classes=1).fix["run.fsdp"] is True
    monkeypatch.setattr(plan_memory, "measured_towers", lambda recipe, inputs: TOWERS)
    with pytest.raises(UsageError, match="does not fit") as refused:
        require_fit(recipe, None, GPUS["a100-40gb"], gpus=8)
    assert refused.value.hint == "Add --set run.accumulate=2."
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=39 * GIB))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100")
    with pytest.raises(UsageError, match="does not fit 8 × A100"):
        extension("planners", "fit")(recipe, None, torch.device("cuda"), 8)
    # What compiled towers keep is not known before they run.
    require_fit(changed(recipe, {"run.compile": True}), None, GPUS["a100-40gb"], gpus=8)


def test_as_few_micro_batches_are_chosen_as_fit(monkeypatch):
    recipe = changed(Recipe("large"), {"data.batch_size": 32768, "run.accumulate": 0})
    for gpu, count in (("h200", 1), ("a100-40gb", 2), ("rtx4090", 4)):
        found = planned(recipe, TOWERS, GPUS[gpu], gpus=8, classes=1)
        asked = changed(recipe, {"run.accumulate": count})
        assert found == planned(asked, TOWERS, GPUS[gpu], gpus=8, classes=1)
        assert found.left >= 0
        fewer = changed(recipe, {"run.accumulate": max(1, count // 2)})
        assert count == 1 or planned(fewer, TOWERS, GPUS[gpu], gpus=8, classes=1).left < 0
    odd = planned(changed(recipe, {"data.batch_size": 27_000}), TOWERS, GPUS["rtx4090"], gpus=8, classes=1)
    assert (odd.accumulate, odd.left >= 0) == (3, True)
    cut = extension("planners", "cut")
    assert cut(recipe, None, torch.device("cpu"), 8, 1) == 1
    monkeypatch.setattr(plan_memory, "measured_towers", lambda recipe, inputs: TOWERS)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=39 * GIB))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100")
    assert cut(recipe, None, torch.device("cuda"), 8, 1) == 2
    # A class head that leaves nothing for the towers.
    with pytest.raises(UsageError, match="does not fit 8 × A100"):
        cut(changed(recipe, {"objectives.margin_softmax.weight": 1.0}), None, torch.device("cuda"), 8, 10**9)

    def shapeless(recipe, inputs):
        raise RuntimeError("a shape depends on values")

    monkeypatch.setattr(plan_memory, "measured_towers", shapeless)
    with pytest.raises(UsageError, match=r"cannot be estimated: a shape .* Set run.accumulate"):
        cut(recipe, None, torch.device("cuda"), 8, 1)


def test_the_command_prints_the_plan():
    arguments = ("train", "entity_head", "--plan", "--gpus", "1", "--classes", "1000")
    done = in_process(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "entity_head with 512 rows at a time fits 1 × a100-80gb" in done.stdout
    assert "1,000 classes" in done.stdout
    found = json.loads(in_process(*arguments, "--json").stdout)
    assert found["left"] == found["available"] - sum(found["memory"].values()) > 0
    wrong = in_process(*arguments, "--gpu", "h10")
    assert wrong.returncode == 2
    assert "Did you mean 'h100'?" in wrong.stderr


def test_the_plan_of_a_recipe_without_a_length_is_refused_as_its_run_is():
    done = in_process("train", "entity_head", "--plan", "--classes", "1000", "--set", "run.steps=null")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The recipe does not say how long to train." in done.stderr


def test_the_plan_of_a_residual_head_counts_the_dataset_s_classes(dataset, small_encoder):
    arguments = ("train", "entity_head", "--plan", "--json", "--encoder", small_encoder, "--dataset", dataset)
    found = json.loads(in_process(*arguments).stdout)
    assert found["classes"] == len(Folder.open(dataset, "dataset").vocabulary)
    assert found["flops"] > 0


def test_the_plan_counts_epochs_and_what_is_trained(dataset, small_encoder):
    recipe = changed(SMALL, {"run.epochs": 3.0, "data.batch_size": 64})
    assert planned(recipe, TOWERS, GPUS["h100"], gpus=1, classes=1, pairs=6400).steps == 300
    assert planned(recipe, TOWERS, GPUS["h100"], gpus=1, classes=1, pairs=6400).hours == pytest.approx(
        planned(changed(SMALL, {"run.steps": 300}), TOWERS, GPUS["h100"], gpus=1, classes=1).hours
    )
    arguments = ("--plan", "--encoder", small_encoder, "--set", "run.epochs=10", "--set", "run.steps=null")
    done = in_process("train", "entity_head", *arguments)
    assert "10 epochs of 1,000,000 pairs are about 19,531 steps" in done.stdout
    done = in_process(
        "train", "entity_head", *arguments, "--dataset", dataset, "--set", "data.batch_size=4", "--gpus", "1"
    )
    assert "10 epochs of 43 pairs are about 108 steps" in done.stdout
    found = json.loads(in_process("train", "entity_head", *arguments, "--json").stdout)
    assert found["trained"] == found["parameters"] > 0


def test_adapters_have_states_and_what_they_adapt_has_none():
    inputs, adapted = inputs_of(SMALL.model), changed(SMALL, {"model.image.lora.rank": 2, "model.text.lora.rank": 2})
    whole, low = measured_towers(SMALL, inputs), measured_towers(adapted, inputs)
    assert low.parameters - low.trained_parameters < whole.parameters == whole.trained_parameters
    assert 20 * low.trained_parameters < whole.parameters
    assert low.trained == 4 * low.trained_parameters
    # B A is multiplied once a micro-batch, of however many rows; rows cost what they cost, but for weights' gradients.
    assert low.forward == whole.forward
    assert 2 * whole.forward < low.both < whole.both
    plans = [planned(SMALL, towers, GPUS["h100"], gpus=1, classes=1).memory for towers in (whole, low)]
    assert all(20 * plans[1][name] < plans[0][name] for name in ("gradients", "optimizer"))
    held = changed(SMALL, {"model.image.freeze_steps": 5})
    assert measured_towers(held, inputs) == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finetune", "finetune_lora"])
def test_fine_tuning_fits_one_card_of_24_gb_and_eight_of_40(name):
    recipe = load_recipe(name)
    towers = measured_towers(recipe, inputs_of(recipe.model))
    assert planned(recipe, towers, GPUS["rtx4090"], gpus=1, classes=1).left >= 0
    node = changed(recipe, {"run.accumulate": 1})
    assert planned(node, towers, GPUS["a100-40gb"], gpus=8, classes=1).left >= 0


def test_towers_of_transformers_are_measured_too(clip_folder):
    spec = f"hf:{clip_folder}"
    recipe = changed(SMALL, {"model.image.spec": spec, "model.text.spec": spec})
    found = measured_towers(recipe, inputs_of(recipe.model))
    assert found.peak(64) > found.peak(2) > 0
    assert 2.8 < found.both / found.forward < 3.1


@lru_cache
def towers_of(model, data, objectives, run):
    recipe = Recipe("recipe", data, model, objectives, run=run)
    return measured_towers(recipe, inputs_of(model))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "gpus"),
    [(name, 8) for name in recipe_names(RECIPES)] + [(str(path), 1) for path in recipe_path("x").parent.glob("*.yaml")],
)
def test_every_recipe_fits_the_node_that_it_names(name, gpus):
    recipe = load_recipe(name)
    run = Recipe().run
    towers = towers_of(
        recipe.model,
        replace(Recipe().data, batch_size=recipe.data.batch_size, hard_negatives=recipe.data.hard_negatives),
        replace(Recipe().objectives, reinforced=recipe.objectives.reinforced),
        replace(run, precision=recipe.run.precision),
    )
    for gpu in ("a100-80gb", "a100-40gb"):
        found = planned(recipe, towers, GPUS[gpu], gpus=gpus, classes=2_000_000)
        assert found.left >= 0 or found.fix
        assert found.left >= 0 or gpu == "a100-40gb"
