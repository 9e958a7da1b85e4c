"""`--encoder` and `--labels` of `openmofi train`: what they say of a recipe."""

from __future__ import annotations

import json
from pathlib import Path

from openmofi.dataset import build_dataset
from openmofi.encoders import open_encoder
from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.storage import read_manifest
from openmofi.training.recipe.schema import Recipe

_BUILT = ".dataset"
_DIM = 512


def over_encoder(recipe: Recipe, spec: str) -> list[str]:
    """The settings, as KEY=VALUE, of a recipe whose heads stand over a frozen encoder.

    Where the encoder has a joint space a head is residual, so that it begins as a change of nothing; otherwise it maps
    the features to a space of 512 dimensions. Without a text side there are no texts, nor losses of them.

    Args:
        recipe: what is trained; its `model.nested` is cut below the dimension.
        spec: of the encoder, see `openmofi.encoders.open_encoder`.

    Raises:
        UsageError, OpenMofiError: the encoder cannot be opened.
    """
    encoder = open_encoder(spec)
    residual, texts = encoder.has_joint_space, bool(encoder.text_feature_dim)
    dim = encoder.dim if residual else _DIM
    locked = f"encoder:{spec}"
    both = {
        "model.image.spec": locked,
        "model.image.residual": residual,
        "model.dim": dim,
        "model.nested": [length for length in recipe.model.nested if length < dim],
        "model.start": "random" if residual else recipe.model.start,
        "model.start_share": 0.0 if residual else recipe.model.start_share,
        "model.text.spec": locked if texts else "none",
        "model.text.residual": residual and texts,
    }
    if residual:
        # An embedding has no outliers to standardise, and a small change of it needs all of it.
        both |= {"model.image.standardise": False, "model.image.feature_dropout": 0.0}
    if not texts:
        both |= {
            "objectives.contrastive.weight": 0.0,
            "objectives.margin_softmax.texts": 0.0,
            "run.evaluate.zero_shot": False,
        }
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in both.items()]


def dataset_of(labels: str | Path, kb: str | Path | None, out: str | Path, *, restart: bool = False) -> Path:
    """A dataset: `labels` itself, or one that is built of a label job in the run's folder.

    Args:
        labels: folder of `openmofi label`, or of `openmofi dataset build`.
        kb: knowledge base, for the names of entities.
        out: folder of the run.
        restart: build it anew.

    Raises:
        UsageError: the folder holds neither.
        OpenMofiError: it is missing or not finished, or no label passes the filters.
    """
    kind = read_manifest(labels).kind
    if kind == "dataset":
        return Path(labels)
    if kind != "labels":
        raise UsageError(
            f"{labels} holds {kind!r}, neither labels nor a dataset.",
            "Give what `openmofi label` or `openmofi dataset build` wrote.",
        )
    folder = Path(out) / _BUILT
    build_dataset(labels, folder, kb=KnowledgeBase.open(kb) if kb else None, report=False, restart=restart)
    return folder
