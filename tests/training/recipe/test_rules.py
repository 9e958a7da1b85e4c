"""What recipes may say: each rule broken once, and the rules' names against those of the code."""

from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin

import pytest

from openmofi.config.fields import field_types
from openmofi.errors import UsageError
from openmofi.training.recipe import Recipe, RunSettings
from openmofi.training.recipe.rules import check_micro_batches, load_recipe, require_data
from studies import recipe_path


def annotations(settings: Any, path: str = "") -> dict[str, Any]:
    """Dotted key → annotation of every setting."""
    found = {}
    for name, kind in field_types(settings).items():
        found |= annotations(kind, f"{path}{name}.") if is_dataclass(kind) else {f"{path}{name}": kind}
    return found


CHOICES = {key: get_args(kind) for key, kind in annotations(Recipe).items() if get_origin(kind) is Literal}


def value_of(recipe: object, key: str) -> object:
    for part in key.split("."):
        recipe = getattr(recipe, part)
    return recipe


@pytest.mark.parametrize(
    ("override", "told"),
    [
        *((f"{key}=nonsense", f"unknown value 'nonsense' for {key}; use ") for key in CHOICES),
        ("run.steps=0", "run.steps is 0; it must be at least 1"),
        ("run.epochs=-1", "run.epochs is -1; it must be at least 0"),
        ("run.epochs=2", "run.steps and run.epochs: a run has one length"),
        ("model.image.lora.rank=-2", "model.image.lora.rank is -2; it must be at least 0"),
        ("model.text.freeze_steps=0.5", "model.text.freeze_steps is 0.5; it must be a whole number"),
        ("run.seed=-1", "run.seed is -1; it must be at least 0"),
        ("optimizer.lr=0", "optimizer.lr is 0; it must be above 0"),
        ("optimizer.lr=.nan", "optimizer.lr is nan; it must be finite"),
        ("optimizer.betas=[0.9, 1]", "optimizer.betas[1] is 1; it must be at least 0 and below 1"),
        ("model.image.feature_dropout=1", "model.image.feature_dropout is 1; it must be at least 0 and below 1"),
        ("data.augment.flip=1.5", "data.augment.flip is 1.5; it must lie between 0 and 1"),
        ("data.augment.scale=[0.5, 0.4]", "the smaller number comes first"),
        ("data.augment.scale=[0, 1]", "data.augment.scale[0] is 0; it must be above 0 and at most 1"),
        ("data.text.alt_text=-1", "data.text.alt_text is -1; it must be at least 0"),
        ("data.text={alt_text: 0, name: 0, name_description: 0}", "every probability of data.text is 0"),
        ("data.text.templates=['a {nme}']", "data.text: template 'a {nme}' has the unknown placeholder {nme}"),
        ("data.text.templates=['a {name']", "is malformed"),
        ("data.text.templates=[picture]", "has no placeholder"),
        ("data.text.description_templates=[]", "data.text: description_templates is empty"),
        ("run.shard_over=node", "run.shard_over: node says over what run.fsdp shards the towers, and that is off"),
        ("run.accumulate=7", "data.batch_size is 512, which cannot be cut into run.accumulate = 7"),
        ("objectives={margin_softmax: {weight: 0}, contrastive: {weight: 0}}", "trains nothing"),
        ("objectives.contrastive.weight=0", "no objective looks at texts"),
        ("objectives.contrastive.scale=200", "objectives.contrastive: scale is 200, above max_scale = 100"),
        ("model.text.spec=none", "needs texts, and model.text.spec is none"),
        ("model.text.spec=clip", "unknown value 'clip' for model.text.spec; use open_clip:ARCH"),
        ("model.image.spec='timm:'", "unknown value 'timm:' for model.image.spec; use timm:NAME"),
        ("model.image.spec=none", "unknown value 'none' for model.image.spec"),
        (
            "objectives.margin_softmax={implementation: sampled, sample_rate: 0, min_sampled: 0}",
            "objectives.margin_softmax.sample_rate is 0; it must be above 0 and at most 1",
        ),
        ("run.best='-'", "unknown value '-' for run.best; use a metric of the log"),
        ("objectives={margin_softmax: {weight: 0}, entity_distillation: {weight: 1}}", "teaches the classes of"),
        ("objectives.reinforced={weight: 1, scale: 200}", "objectives.reinforced: scale is 200, above max_scale"),
        ("model.start_share=0.5", "mixes the weights before training into the encoder, and they are random"),
        ("data.reinforcement.store=store", "whose features are computed once"),
        ("model.image.lora.rank=2", "model.image.lora is of a tower that is trained, and 'encoder:"),
        ("model.text.lora={rank: 2}", "model.text.lora is of a tower that is trained, and 'encoder:"),
        ("model.image.freeze_steps=2", "model.image.freeze_steps is of a tower that is trained"),
    ],
)
def test_a_broken_rule_is_told(override, told):
    with pytest.raises(UsageError) as caught:
        load_recipe(recipe_path("sample_multi_task"), [override])
    assert told in caught.value.message


def test_a_share_of_the_start_is_of_weights_that_are_no_chance():
    assert load_recipe("finetune", ["model.start_share=0.5"]).model.start_share == 0.5
    assert load_recipe("finetune_lora", ["model.start_share=0.5"]).model.start_share == 0.5
    for side, override in (
        ("image", "model.image.head=linear"),
        ("text", "model.text.head=mlp"),
        ("text", "model.text.pretrained=''"),
        ("text", "model.text.spec=mobile:mct"),
    ):
        overrides = [override, *(["model.text.pretrained=''"] if "mobile" in override else [])]
        with pytest.raises(UsageError, match=rf"they are random in model\.{side}\."):
            load_recipe("finetune", ["model.start_share=0.5", *overrides])
    hub = ["model.image.spec=hf:google/siglip2-base-patch16-224", "model.image.pretrained=''"]
    assert load_recipe("finetune", ["model.start_share=0.5", *hub]).model.start_share == 0.5


@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in CHOICES.items() for name in names])
def test_every_name_is_taken(key, name):
    assert value_of(load_recipe(recipe_path("sample_multi_task"), [f"{key}={name}"]), key) == name


def test_every_number_has_a_range():
    kinds = {
        key: {kind, *get_args(kind)} if get_origin(kind) is tuple else {kind}
        for key, kind in annotations(Recipe).items()
    }
    free = {key for key, kind in kinds.items() if kind & {int, float}}
    assert free == {"objectives.contrastive.bias"}


def test_the_choices_are_those_that_there_were():
    assert set(CHOICES) == {
        "data.sampler",
        "model.image.head",
        "model.start",
        "model.text.head",
        "objectives.margin_softmax.implementation",
        "objectives.margin_softmax.margin_type",
        "objectives.margin_softmax.label_weights",
        "objectives.contrastive.loss",
        "objectives.contrastive.positives",
        "objectives.reinforced.positives",
        "data.reinforcement.mismatch",
        "optimizer.head",
        "run.precision",
        "run.evaluate.held_out_by",
    }


def test_contrastive_names_are_those_of_the_objective():
    from openmofi.objectives.contrastive import PAIRWISE, POSITIVES

    assert CHOICES["objectives.contrastive.loss"] == tuple(PAIRWISE)
    assert CHOICES["objectives.contrastive.positives"] == tuple(POSITIVES)


def test_data_have_to_be_named():
    with pytest.raises(UsageError, match=r"data\.dataset is empty"):
        require_data(load_recipe(recipe_path("sample_supervised")))
    with pytest.raises(UsageError, match=r"data\.kb is empty"):
        require_data(load_recipe(recipe_path("sample_multi_task"), ["data.dataset=somewhere"]))
    for name in ("sample_supervised", "sample_contrastive_alt_text"):
        recipe = load_recipe(recipe_path(name), ["data.dataset=somewhere"])
        require_data(recipe)
        assert recipe.data.kb == ""


def test_each_ranks_share_of_a_batch_is_cut_into_equal_parts():
    check_micro_batches(12, RunSettings(accumulate=3), 2)
    with pytest.raises(UsageError, match=r"batch_size is 12 over 2 ranks, which cannot be cut into run.accumulate = 4"):
        check_micro_batches(12, RunSettings(accumulate=4), 2)
