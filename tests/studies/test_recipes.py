"""The studies' recipes, fully resolved, beside golden files."""

from pathlib import Path

import pytest

import studies
from openmofi.config.recipes import recipe_yaml
from openmofi.training.recipe.rules import load_recipe

RECIPES = sorted(Path(studies.__file__).with_name("recipes").glob("*.yaml"))
GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_setting_is_the_golden_one(path: Path) -> None:
    assert recipe_yaml(load_recipe(path)) == (GOLDEN / path.name).read_text(encoding="utf-8")


def test_each_golden_file_has_its_recipe() -> None:
    assert {path.name for path in GOLDEN.glob("*.yaml")} == {path.name for path in RECIPES}
