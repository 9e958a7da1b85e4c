"""Recipes: each packaged one fully resolved against its golden file, and what a wrong one says.

A recipe, a default or a setting was changed on purpose: write the golden files anew and read the difference,

    python tests/training/recipe/test_load.py && git diff tests/training/recipe/golden
"""

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.config.recipes import recipe_names, recipe_yaml
from openmofi.errors import UsageError
from openmofi.objectives.objective_settings import ContrastiveSettings
from openmofi.training.recipe import DataSettings, Objectives, OptimizerSettings, Recipe
from openmofi.training.recipe.rules import RECIPES, load_recipe
from studies import recipe_path

GOLDEN = Path(__file__).parent / "golden"
SAMPLES = ("sample_supervised", "sample_contrastive_alt_text", "sample_contrastive_entities", "sample_multi_task")


def written(tmp_path: Path, text: str, name: str = "mine.yaml") -> Path:
    path = tmp_path / name
    path.write_text("objectives: {margin_softmax: {weight: 1}}\n" + text)
    return path


@pytest.mark.parametrize("name", recipe_names(RECIPES))
def test_each_recipe_is_its_golden_file(name):
    assert recipe_yaml(load_recipe(name)) == (GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(recipe_names(RECIPES))


@pytest.mark.parametrize("name", recipe_names(RECIPES))
def test_a_resolved_recipe_reads_back_equal(name, tmp_path):
    recipe = load_recipe(name)
    (tmp_path / "again.yaml").write_text(recipe_yaml(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "again.yaml") == recipe
    assert recipe.name == name


@pytest.mark.parametrize("full", ["", "_full"])
def test_sample_recipes_differ_in_objectives_and_texts_only(full):
    found = [load_recipe(recipe_path(name + full)) for name in SAMPLES]
    for recipe in found[1:]:
        same = replace(
            recipe,
            name=found[0].name,
            objectives=found[0].objectives,
            data=replace(recipe.data, text=found[0].data.text),
            model=replace(recipe.model, text=found[0].model.text),
        )
        assert same == found[0]
    supervised, alt_text, entities, multi_task = (recipe.objectives for recipe in found)
    assert multi_task == Objectives(supervised.margin_softmax, replace(entities.contrastive, weight=0.3))
    assert alt_text == replace(entities, contrastive=replace(entities.contrastive, positives="text"))


def test_the_baseline_is_mofi_without_entities():
    mofi, clip = load_recipe("mofi_vit_b16"), load_recipe("clip_vit_b16")
    assert clip.model == mofi.model
    assert clip.run == mofi.run
    assert replace(clip.data, text=mofi.data.text) == mofi.data
    assert replace(clip.optimizer, head=mofi.optimizer.head, head_lr=mofi.optimizer.head_lr) == mofi.optimizer
    assert clip.objectives.margin_softmax.weight == 0


def test_the_papers_settings():
    for name, dim in (("mofi_vit_b16", 512), ("mofi_vit_l14", 768), ("mofi_vit_h14", 1024)):
        recipe = load_recipe(name)
        assert recipe.model.dim == dim
        assert recipe.data.batch_size == 32_768
        assert (recipe.objectives.margin_softmax.margin, recipe.objectives.margin_softmax.scale) == (0.15, 32.0)
        assert (recipe.objectives.contrastive.scale, recipe.objectives.contrastive.max_scale) == (1 / 0.07, 100.0)
        assert recipe.optimizer == OptimizerSettings(head="row-adagrad", head_lr=0.01)


def test_what_a_file_leaves_out_has_the_default(tmp_path):
    recipe = load_recipe(written(tmp_path, "optimizer:\n  lr: 1e-3\nrun:\n"))
    expected = Recipe(name="mine", optimizer=OptimizerSettings(lr=0.001))
    assert replace(recipe, objectives=expected.objectives) == expected


def test_numbers_as_people_write_them(tmp_path):
    text = "optimizer: {lr: 3e-4, eps: 1E-6, weight_decay: 1, min_lr: .5}\nrun: {steps: 10_000}\n"
    recipe = load_recipe(written(tmp_path, text))
    found = recipe.optimizer
    assert (found.lr, found.eps, found.weight_decay, found.min_lr, recipe.run.steps) == (3e-4, 1e-6, 1.0, 0.5, 10_000)
    assert type(found.weight_decay) is float


def test_overrides_change_single_settings_and_later_ones_win():
    recipe = load_recipe(
        recipe_path("sample_multi_task"),
        [
            "optimizer.lr=3e-4",
            "data.augment.scale=[0.3, 1]",
            "model.image.freeze=[blocks.*]",
            "optimizer.lr=1e-4",
            "data={batch_size: 8, text: {alt_text: 1}}",
            "data.dataset=some/folder",
        ],
    )
    assert recipe.optimizer.lr == 1e-4
    assert recipe.data.augment.scale == (0.3, 1.0)
    assert recipe.model.image.freeze == ("blocks.*",)
    assert (recipe.data.batch_size, recipe.data.text.alt_text, recipe.data.dataset) == (8, 1.0, "some/folder")
    assert recipe.data.text.name_description == load_recipe(recipe_path("sample_multi_task")).data.text.name_description


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("optimizer: {lrr: 1}", "unknown setting optimizer.lrr; did you mean optimizer.lr?"),
        ("lr: 1", "unknown setting lr; did you mean optimizer.lr?"),
        ("model: {image: {specs: x}}", "unknown setting model.image.specs; did you mean model.image.spec?"),
        ("5: 1", "unknown setting 5."),
        ("optimizer: {lr: fast}", "optimizer.lr is 'fast'; it must be a number"),
        ("optimizer: {lr: true}", "optimizer.lr is True; it must be a number"),
        ("optimizer: {lr: }", "optimizer.lr is empty; it must be a number"),
        ("run: {steps: 1.5}", "run.steps is 1.5; it must be a whole number"),
        ("run: {steps: true}", "run.steps is True; it must be a whole number"),
        ("run: {fsdp: 1}", "run.fsdp is 1; it must be true or false"),
        ("name: 7", "name is 7; it must be text"),
        ("data: {augment: {scale: 1}}", "data.augment.scale is 1; it must be a list"),
        ("data: {augment: {scale: [1]}}", "data.augment.scale has 1 values; it must have 2"),
        ("data: {augment: {scale: [0.1, x]}}", "data.augment.scale[1] is 'x'; it must be a number"),
        ("model: {image: {freeze: [a, 3]}}", "model.image.freeze[1] is 3; it must be text"),
        ("optimizer: 3", "optimizer is 3; it has settings below it"),
        ("optimizer: [lr]", "optimizer is a list; it has settings below it"),
        ("run: {steps: 1, steps: 2}", "line 2: the key 'steps' stands twice"),
        ("run: {steps: 1", "line 2"),
        ("run: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("? [a, b]\n: 1", "found unhashable key"),
    ],
)
def test_a_wrong_file_is_told_with_file_and_key(text, told, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    assert caught.value.message.startswith(str(path))
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("optimizer.lr", "--set optimizer.lr is not KEY=VALUE"),
        ("=1", "--set =1 is not KEY=VALUE"),
        ("a..b=1", "--set a..b=1 is not KEY=VALUE"),
        ("optimizer.betas=1", "optimizer.betas has 1 values; it must have 2."),
        ("data.augment=1", "Write one as --set data.augment.NAME=VALUE."),
        ("optimizer.lrr=1", "--set optimizer.lrr=1: unknown setting optimizer.lrr; did you mean optimizer.lr?"),
        ("optimizer.lr.peak=1", "optimizer.lr is a mapping; it must be a number"),
        ("optimizer.lr=[", "--set optimizer.lr=[:"),
    ],
)
def test_a_wrong_override_is_told(override, told):
    with pytest.raises(UsageError) as caught:
        load_recipe(recipe_path("sample_supervised"), [override])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "model.image.spec=timm:resnet10t",
        "model.text.spec=mobile:mct",
        "model.image.residual=true",
        "model.text.residual=true",
        "model.image.head=none",
        "model.text.head=none",
    ],
)
def test_a_start_from_the_labels_is_of_heads_over_locked_features(override):
    side = override.split(".")[1]
    with pytest.raises(UsageError, match=rf"model\.start: labels .* model\.{side} is not one"):
        load_recipe("entity_head", ["run.report=false", "model.start=labels", override])
    assert (
        load_recipe(
            "entity_head",
            [
                "model.start=labels",
                "model.text.spec=none",
                "objectives.contrastive.weight=0",
                "objectives.margin_softmax.texts=0",
                "run.evaluate.zero_shot=false",
                "run.best=-loss",
            ],
        ).model.start
        == "labels"
    )


def test_a_file_that_is_no_mapping_or_no_text_is_told(tmp_path):
    contents = {b"- a\n": "not a mapping", b"\xff\xfe\x00": "cannot be read", b"a: \x00\n": "mine.yaml"}
    for content, told in contents.items():
        (tmp_path / "mine.yaml").write_bytes(content)
        with pytest.raises(UsageError, match=told):
            load_recipe(tmp_path / "mine.yaml")


def test_unknown_recipes_are_told():
    with pytest.raises(UsageError, match=r"recipe 'mofi_vitb16'") as caught:
        load_recipe("mofi_vitb16")
    assert "clip_vit_b16" in caught.value.hint
    for name in ("nowhere/mine.yaml", "mine.yaml"):
        with pytest.raises(UsageError, match=f"recipe '{name}' does not exist"):
            load_recipe(name)


def test_the_core_install_reads_recipes():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"msgspec", "pyyaml"} <= {requirement.partition(">=")[0] for requirement in project["dependencies"]}


def test_reading_a_recipe_imports_no_torch():
    code = (
        "import sys; from openmofi.config.recipes import recipe_yaml; "
        "from openmofi.training.recipe.rules import load_recipe; "
        "recipe_yaml(load_recipe('mofi_vit_b16')); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


numbers = st.floats(1e-12, 1e12, allow_nan=False)


@settings(max_examples=40)
@given(
    dataset=st.text(st.characters(codec="utf-8"), max_size=20),
    lr=numbers,
    seed=st.integers(0, 2**62),
    freeze=st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=3),
)
def test_any_recipe_survives_being_written(dataset, lr, seed, freeze, tmp_path_factory):
    base = load_recipe(recipe_path("sample_supervised"))
    recipe = replace(
        base,
        data=DataSettings(dataset=dataset),
        optimizer=OptimizerSettings(lr=lr, warmup=0),
        objectives=replace(base.objectives, contrastive=ContrastiveSettings(bias=-lr)),
        model=replace(base.model, image=replace(base.model.image, freeze=tuple(freeze))),
        run=replace(base.run, seed=seed),
    )
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(recipe_yaml(recipe).encode())
    assert load_recipe(path) == recipe


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for stale in GOLDEN.glob("*.yaml"):
        stale.unlink()
    for each in recipe_names(RECIPES):
        (GOLDEN / f"{each}.yaml").write_text(recipe_yaml(load_recipe(each)), encoding="utf-8")
