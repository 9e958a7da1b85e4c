"""Noisy image–text pairs in, an entity-labelled image dataset, encoders and a search out.

The names below are loaded when they are first used: `import openmofi` loads neither PyTorch nor Arrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openmofi.version import __version__ as __version__

if TYPE_CHECKING:
    from openmofi.api import (
        audit,
        build_dataset,
        build_kb,
        evaluate,
        explain,
        label,
        load_encoder,
        sample_kb,
    )
    from openmofi.api_export import export, export_dataset
    from openmofi.api_index import build_index, recognise
    from openmofi.api_training import reinforce, study_size, train
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.encoders import Encoder
    from openmofi.errors import OpenMofiError
    from openmofi.knowledge import KnowledgeBase, diff_kb, export_kb, union_kb
    from openmofi.labeling.explain import Explanation
    from openmofi.search import Index
    from openmofi.training.outcome import Run

__all__ = [
    "Dataset",
    "Encoder",
    "Explanation",
    "Index",
    "KnowledgeBase",
    "Labels",
    "OpenMofiError",
    "Run",
    "audit",
    "build_dataset",
    "build_index",
    "build_kb",
    "diff_kb",
    "evaluate",
    "explain",
    "export",
    "export_dataset",
    "export_kb",
    "label",
    "load_encoder",
    "recognise",
    "reinforce",
    "sample_kb",
    "study_size",
    "train",
    "union_kb",
]

_MODULES = {
    "Dataset": "dataset.objects",
    "Encoder": "encoders",
    "Explanation": "labeling.explain",
    "Index": "search",
    "KnowledgeBase": "knowledge",
    "Labels": "dataset.objects",
    "OpenMofiError": "errors",
    "Run": "training.outcome",
    "build_index": "api_index",
    "diff_kb": "knowledge",
    "export": "api_export",
    "export_dataset": "api_export",
    "export_kb": "knowledge",
    "recognise": "api_index",
    "reinforce": "api_training",
    "study_size": "api_training",
    "train": "api_training",
    "union_kb": "knowledge",
}
"""Where a name is, if not in `openmofi.api`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'openmofi' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"openmofi.{_MODULES.get(name, 'api')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
