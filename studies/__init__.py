"""The papers in miniature, on the sample world: `python -m studies.NAME`; each writes `metrics.json` and a report."""

from pathlib import Path

_RECIPES = Path(__file__).with_name("recipes")


def recipe_path(name: str) -> Path:
    """The file of a study's recipe, as `sample_multi_task`."""
    return _RECIPES / f"{name}.yaml"
