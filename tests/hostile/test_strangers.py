"""Nothing of a stranger's runs, whatever opens it: what comes out is a refusal, or a sound opening that ran nothing."""

from __future__ import annotations

import shutil
import sys

import pytest

from hostile.strangers import MODELS, MODULE, POISONS, SPECS
from openmofi.errors import OpenMofiError

UNHARMED = {"python_beside": set(SPECS)}
REFUSED = {
    "links": set(MODELS),
    "pickles": set(SPECS) - {"recipe", "spacy"},
    "trusted": {"open_clip", "run"},
    "tags": set(SPECS) - {"timm", "kb", "index"},
}


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("name", SPECS)
def test_nothing_runs(name, poison, sound, bench, tmp_path, monkeypatch):
    folder, marker = tmp_path / "stranger", tmp_path / "ran"
    shutil.copytree(sound(name), folder)
    POISONS[poison](folder, marker)
    monkeypatch.chdir(folder)
    # Who asks whether to run code is told to.
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    before = set(sys.modules)
    try:
        SPECS[name].use(bench, folder)
        refusal = None
    except OpenMofiError as error:
        refusal = error
    assert not marker.exists()
    assert not {module for module in set(sys.modules) - before if "evil" in module.lower()}
    assert MODULE not in sys.modules
    if name in UNHARMED.get(poison, ()):
        assert refusal is None
    if name in REFUSED.get(poison, ()):
        assert refusal is not None
