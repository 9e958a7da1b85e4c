"""What recipes may say: each rule broken once, and the rules' names against those of the code."""

from dataclasses import fields, is_dataclass

import pytest

from openmofi.errors import UsageError
from openmofi.training.recipe.rules import CHOICES, load_recipe, require_data
from openmofi.training.recipe.schema import Recipe
from studies import recipe_path


def value_of(recipe: object, key: str) -> object:
    for part in key.split("."):
        recipe = getattr(recipe, part)
    return recipe


@pytest.mark.parametrize(("override", "told"), [
    *((f"{key}=nonsense", f"{key} is 'nonsense'") for key in CHOICES),
    ("run.steps=0", "run.steps is 0, and must be at least 1"),
    ("run.seed=-1", "run.seed is -1, and must not be negative"),
    ("optimizer.lr=0", "optimizer.lr is 0.0, and must be above 0"),
    ("optimizer.lr=.nan", "optimizer.lr is nan, and must be finite"),
    ("optimizer.betas=[0.9, 1]", "optimizer.betas is 1.0, and must be below 1"),
    ("optimizer.warmup=401", "optimizer.warmup is 401, more than run.steps = 400"),
    ("model.image.feature_dropout=1", "model.image.feature_dropout is 1.0, and must be below 1"),
    ("data.augment.flip=1.5", "data.augment.flip is 1.5, and must be at most 1"),
    ("data.augment.scale=[0.5, 0.4]", "the smaller number comes first"),
    ("data.augment.scale=[0, 1]", "data.augment.scale is 0.0, and must be above 0"),
    ("data.text.alt_text=-1", "data.text.alt_text is -1.0, and must not be negative"),
    ("data.text={alt_text: 0, name: 0, name_description: 0}", "every probability of data.text is 0"),
    ("data.text.templates=['a {nme}']", "has the placeholder {nme}"),
    ("data.text.templates=['a {name']", "is no template"),
    ("data.text.templates=[picture]", "has no placeholder"),
    ("data.text.description_templates=[]", "data.text.description_templates is empty"),
    ("run.accumulate=7", "data.batch_size is 512, which cannot be cut into run.accumulate = 7"),
    ("objectives={margin_softmax: {weight: 0}, contrastive: {weight: 0}}", "trains nothing"),
    ("objectives.contrastive.weight=0", "no objective looks at texts"),
    ("objectives.contrastive.scale=200", "above its max_scale of 100"),
    ("model.text.spec=none", "needs texts, and model.text.spec is none"),
    ("model.text.spec=clip", "model.text.spec is 'clip', which names no tower"),
    ("model.image.spec='timm:'", "model.image.spec is 'timm:', which names no tower"),
    ("model.image.spec=none", "model.image.spec is 'none', which names no tower"),
    ("objectives.margin_softmax={implementation: sampled, sample_rate: 0, min_sampled: 0}", "samples no class"),
    ("run.best='-'", "run.best names no metric"),
    ("objectives={margin_softmax: {weight: 0}, entity_distillation: {weight: 1}}", "teaches the classes of"),
    ("objectives.reinforced={weight: 1, scale: 200}", "objectives.reinforced.scale is 200, above its max_scale"),
    ("data.reinforcement.store=store", "whose features are computed once"),
])
def test_a_broken_rule_is_told(override, told):
    with pytest.raises(UsageError) as caught:
        load_recipe(recipe_path("sample_multi_task"), [override])
    assert told in caught.value.message


@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in CHOICES.items() for name in names])
def test_every_name_is_taken(key, name):
    assert value_of(load_recipe(recipe_path("sample_multi_task"), [f"{key}={name}"]), key) == name


def test_rules_name_settings_that_there_are():
    def keys(settings: object, path: str = "") -> set[str]:
        return {f"{path}{field.name}" for field in fields(settings)} | {
            key for field in fields(settings) if is_dataclass(getattr(settings, field.name))
            for key in keys(getattr(settings, field.name), f"{path}{field.name}.")}

    from openmofi.training.recipe import rules

    named = {*rules.CHOICES, *rules._AT_LEAST_ONE, *rules._POSITIVE, *rules._SHARES, *rules._BELOW_ONE,
             *rules._ANY_SIGN}
    assert named <= keys(Recipe())


def test_contrastive_names_are_those_of_the_objective():
    from openmofi.objectives.pairwise import PAIRWISE
    from openmofi.objectives.positives import POSITIVES

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
