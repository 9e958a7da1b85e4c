"""Evaluators: what the loop measures every few steps, which chooses the best checkpoint; accuracy by class.

A hook of the loop, as in big_vision (https://github.com/google-research/big_vision, `evaluators/`). Encoders are
measured on held-out rows by the metrics of `openmofi.evaluation`. Training is not disturbed: a copy of the towers
embeds, and torch's random state is restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.functional import normalize

from openmofi.arrays import Doubles, Floats, Ints
from openmofi.encoders.arrays import normalised
from openmofi.evaluation.bands import BANDS, by_band
from openmofi.evaluation.metrics.ranking import nearest_neighbours
from openmofi.evaluation.metrics.retrieval import evaluate_retrieval
from openmofi.evaluation.metrics.zero_shot import class_embeddings, evaluate_zero_shot
from openmofi.objectives.collectives import gather
from openmofi.objectives.margin_softmax import MarginSoftmax, thirds_by_count
from openmofi.objectives.protocol import Batch, Embeddings
from openmofi.training.data.loader import TrainingData
from openmofi.training.data.plan import repeat_factors
from openmofi.training.data.subset import HeldOut
from openmofi.training.model.towers import DualEncoder
from openmofi.training.optimization import learning_rate
from openmofi.training.recipe import EvaluateSettings
from openmofi.training.state import Forward, RunState, micro_batches

if TYPE_CHECKING:
    from openmofi.training.recipe import DataSettings, OptimizerSettings, Recipe


Scalars = dict[str, float]
TextEmbedder = Callable[[list[str]], Floats]
_RESAMPLES = 1  # of the bootstrap, whose intervals are not logged


@dataclass
class HeldOutEvaluator:
    """Measures an encoder on held-out rows; its `evaluate` is an `Evaluator` of the loop.

    Attributes:
        settings: which metrics.
        data: with held-out rows.
        state: what is trained.
        copy: a model of the same towers, on the CPU; its weights are overwritten.
        forward: model → what calls it, under the run's precision.
        accumulate: micro-batches of a batch.
        workers: processes that decode.
    """

    settings: EvaluateSettings
    data: TrainingData
    state: RunState
    copy: DualEncoder
    forward: Callable[[nn.Module], Forward]
    accumulate: int
    workers: int

    @torch.no_grad()
    def evaluate(self, step: int) -> Mapping[str, float]:
        """See `Evaluator`. Every rank embeds its share of each batch, and the first one measures."""
        settings, ranks, held_out = self.settings, self.state.ranks, self.data.held_out
        assert held_out is not None
        with self._model() as model:
            scalars = self._loss(model) if settings.loss else {}
            if settings.retrieval or settings.knn or settings.zero_shot:
                parts = [gather(self._embed(model, batch)["image"]).cpu() for batch in self._batches(images_only=True)]
                images = torch.cat(parts).numpy()[: len(held_out.rows)]
                if ranks.first and settings.retrieval:
                    scalars |= retrieval(images, held_out)
                if ranks.first and settings.knn:
                    scalars |= knn(images, held_out, settings.neighbours)
                if ranks.first and settings.zero_shot:
                    scalars |= zero_shot(images, held_out, lambda texts: self._embed_texts(model, texts))
        return ranks.from_first(scalars)

    @contextmanager
    def _model(self) -> Iterator[nn.Module]:
        """The copy with the present weights, averaged where there is a moving average; the first rank's buffers."""
        device = self.state.ranks.device
        self.copy.load_state_dict(self.state.weights())
        self.copy.eval().to(device)
        self.state.ranks.agree(self.copy.buffers())
        try:
            yield self.copy
        finally:
            self.copy.cpu()

    def _batches(self, *, images_only: bool) -> Iterator[Batch]:
        ranks = self.state.ranks
        for batch in self.data.held_out_batches(
            images_only=images_only, rank=ranks.rank, world=ranks.world, workers=self.workers
        ):
            yield {name: values.to(ranks.device) for name, values in batch.items()}

    def _embed(self, model: nn.Module, batch: Batch) -> Embeddings:
        outputs = [self.forward(model)(part) for part in micro_batches(batch, self.accumulate)]
        return {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}

    def _embed_texts(self, model: nn.Module, texts: list[str]) -> Floats:
        sources, device, parts = self.data.sources, self.state.ranks.device, []
        size = max(1, sources.batch_size // self.accumulate)
        for start in range(0, len(texts), size):
            batch = sources.text_batch(texts[start : start + size])
            output = self.forward(model)({name: values.to(device) for name, values in batch.items()})
            parts.append(output["text"].cpu())
        return cast("Floats", torch.cat(parts).numpy())

    def _loss(self, model: nn.Module) -> Scalars:
        """`held_out/loss`, and that of each objective: means over the batches."""
        terms, losses = self.state.terms, dict[str, list[float]]()
        modules = nn.ModuleList([cast("nn.Module", term.objective) for term in terms.values()]).eval()
        for batch in self._batches(images_only=False):
            embeddings = self._embed(model, batch)
            for name, term in terms.items():
                losses.setdefault(name, []).append(float(term(embeddings, batch).loss))
        modules.train()
        means = {name: float(np.mean(values)) for name, values in losses.items()}
        return {
            "held_out/loss": sum(terms[name].weight * mean for name, mean in means.items()),
            **{f"held_out/loss/{name}": mean for name, mean in means.items()},
        }


def retrieval(images: Floats, held_out: HeldOut) -> Scalars:
    """`retrieval/map` and `retrieval/recall_at_1`: every image searches the others (`map_excl_query`); mAP by band too.

    Args:
        images: (n, dim) L2-normalised embeddings of the held-out rows.
        held_out: their classes.
    """
    result = evaluate_retrieval(images, held_out.labels, recall_at=(1,), resamples=_RESAMPLES)
    return {
        "retrieval/map": result.map_excl_query,
        "retrieval/recall_at_1": result.recall_at_excl_query[1],
        **_banded("retrieval/map", result.ap_excl_query, held_out.bands),
    }


def knn(images: Floats, held_out: HeldOut, neighbours: int) -> Scalars:
    """`knn/accuracy`: images outside the gallery are given the class of their neighbours in it.

    Args:
        images, held_out: see `retrieval`.
        neighbours: of each.
    """
    gallery, labels = held_out.gallery, held_out.labels
    result = nearest_neighbours(images[gallery], labels[gallery], images[~gallery], k=[neighbours])
    right = result.answers[neighbours] == labels[~gallery]
    return {"knn/accuracy": float(np.mean(right)), **_banded("knn/accuracy", right, held_out.bands[~gallery])}


def zero_shot(images: Floats, held_out: HeldOut, embed_texts: TextEmbedder) -> Scalars:
    """`zero_shot/accuracy` and `zero_shot/accuracy_top5` among the classes of the held-out rows, by their names.

    Args:
        images, held_out: see `retrieval`.
        embed_texts: n texts → (n, dim).
    """
    labels = np.unique(held_out.labels, return_inverse=True)[1]
    sides = [class_embeddings(texts, ["{}"], lambda texts: embed_texts(list(texts))) for texts in held_out.texts]
    result = evaluate_zero_shot(images, labels, normalised(np.mean(sides, axis=0)), resamples=_RESAMPLES)
    return {
        "zero_shot/accuracy": result.accuracy,
        "zero_shot/accuracy_top5": result.accuracy_top5,
        **_banded("zero_shot/accuracy", result.correct, held_out.bands),
    }


def _banded(name: str, values: NDArray[Any], bands: Ints) -> Scalars:
    return {f"{name}/{band}": value for band, value in by_band(values, bands).items()}


# A row starts with length 1 (`MarginSoftmax`), and a cosine classifier sees its direction alone: to point at its
# class's
# images it has to move by about its own length. Row-wise Adagrad divides a gradient by the root of the sum of all
# earlier squares, so n updates with gradients of one size move a row of D weights by no more than
# lr · √D · Σ 1/√i ≈ 2 · lr · √(D · n); AdamW moves every weight by up to lr in each, a row by lr · √D · n.

_POWER = {"instance": 1.0, "sqrt": 0.5, "class-balanced": 0.0}
_NEEDED = 1.0
_STEPS_LOOKED_AT = 1000


def class_weights(counts: NDArray[np.int64], data: DataSettings) -> Doubles:
    """(classes,) how often each class is drawn, relative to the others, by `data.sampler`."""
    if data.sampler == "repeat-factor":
        return counts * repeat_factors(counts, int(counts.sum()), data.repeat_threshold)
    return np.where(counts > 0, counts.astype(np.float64) ** _POWER[data.sampler], 0.0)


def expected_updates(weights: Doubles, *, steps: int, batch_size: int) -> Doubles:
    """In how many steps of a run the batch is expected to hold an image of each class.

    Args:
        weights: (classes,) of `class_weights`.
        steps: of the run.
        batch_size: of the global batch; an image counts for one class.

    Returns:
        (classes,) float64; several images in one batch are one update.
    """
    share = weights / weights.sum()
    return steps * -np.expm1(-batch_size * share)


def greatest_move(updates: Doubles, dim: int, steps: int, settings: OptimizerSettings) -> Doubles:
    """The bound of the module's head on how far a row moves, in units of its first length.

    Args:
        updates: (classes,) of each row, see `expected_updates`; spread evenly over the run.
        dim: of the embeddings.
        steps: of the run.
        settings: the head's optimiser and the schedule of learning rates.

    Returns:
        (classes,) float64.
    """
    looked_at = np.unique(np.linspace(0, steps - 1, min(steps, _STEPS_LOOKED_AT)).astype(np.int64))
    rates = np.array([learning_rate(int(step), steps, settings) for step in looked_at])
    rates *= settings.class_head_lr / settings.lr
    if settings.head == "row-adagrad":
        # Update i of n comes at the share i / n of the run: Σ lr_i / √i is √n times a mean of lr / √(i / n).
        done = (looked_at + 0.5) / steps
        factor = float(np.mean(rates / np.sqrt(done))) * np.sqrt(updates)
    else:
        factor = float(np.mean(rates)) * updates
    return np.sqrt(dim) * factor


def stuck_head(recipe: Recipe, counts: NDArray[np.int64]) -> str:
    """A warning where half of the classes cannot turn towards their images within the run; else an empty text.

    Args:
        recipe: with a class head.
        counts: (classes,) images of each class that are trained on.
    """
    settings, run = recipe.optimizer, recipe.run
    counts = counts[counts > 0]
    if recipe.model.start == "labels" or not recipe.objectives.margin_softmax.weight or not len(counts):
        return ""
    updates = expected_updates(class_weights(counts, recipe.data), steps=run.length, batch_size=recipe.data.batch_size)
    moves = greatest_move(updates, recipe.model.dim, run.length, settings)
    middle, move = float(np.median(updates)), float(np.median(moves))
    if move >= _NEEDED:
        return ""
    advised = settings.class_head_lr * 2 * _NEEDED / move  # the bound is then twice what is needed
    return (
        f"the class head cannot learn half of its {len(counts):,} classes: {settings.head} at a learning rate of "
        f"{settings.class_head_lr:g} moves the vector of a class with {middle:,.0f} updates by at most "
        f"{move:.2g} of its length in {run.length:,} steps; set optimizer.head_lr to {advised:.1g} "
        "or more, or train longer"
    )


BELOW = 0.05
"""A class whose images are recognised more rarely has collapsed."""
COSINE = 0.95
"""A class whose vector is as near to another's has collapsed."""

_HEAD = "margin_softmax"
_MOST_WEIGHTS = 2**28
_COMPARED = 20_000
_NEAREST = 5
_BLOCK = 1024
_SHOWN = 30


def class_report(state: RunState, counts: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any] | None:
    """What `classes.json` holds, where the recipe has a class head. Every rank calls it.

    Args:
        state: of the run.
        counts: (classes,) images of each class that are trained on.
        names: (classes,) of the classes.
    """
    if _HEAD not in state.terms:
        return None
    head = cast("MarginSoftmax", state.terms[_HEAD].objective)
    vectors = None
    if head.classes * head.weight.shape[1] <= _MOST_WEIGHTS:
        weight = state.tensors()[f"objective.{_HEAD}.weight"]
        whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
        vectors = class_vectors(whole.detach().float().cpu(), head.dim)
    assert head.recent is not None
    sampled = head.settings.implementation == "sampled"
    return {"sampled": sampled, **described(vectors, head.recent.cpu().numpy(), counts, names)}


def class_vectors(weight: Tensor, dim: int) -> Tensor:
    """(classes, dim) of length 1 of the head's rows; of several sub-centres their mean direction."""
    return normalize(normalize(weight.view(len(weight), -1, dim), dim=2).mean(1), dim=1)


def described(
    vectors: Tensor | None, accuracy: NDArray[np.float32], counts: NDArray[np.int64], names: Sequence[str]
) -> dict[str, Any]:
    """Return figures by band, collapsed classes, and the nearest other classes.

    Args:
        vectors: (classes, dim) of length 1; `None` where there are too many to compare.
        accuracy: (classes,) moving mean over a class's images, NaN where none was seen.
        counts: (classes,) images; classes without any are left out.
        names: (classes,).
    """
    used = np.flatnonzero(counts > 0)
    used = used[np.argsort(-counts[used], kind="stable")]
    band = thirds_by_count(torch.from_numpy(counts[used])).numpy()
    # Evenly over the frequencies where all would be too many.
    compared = _evenly(len(used), _COMPARED)
    near, cosines = _nearest(vectors, used, used[compared]) if vectors is not None else (None, None)
    collapsed = accuracy[used] < BELOW
    if cosines is not None and cosines.shape[1]:
        collapsed[compared] |= cosines[:, 0] >= COSINE
    positions = {int(number): at for at, number in enumerate(compared)}

    def row(number: int) -> dict[str, Any]:
        at, value = positions.get(number), float(accuracy[used[number]])
        nearest = (
            []
            if near is None or cosines is None or at is None
            else [
                {"name": names[other], "cosine": round(float(cosine), 4)}
                for other, cosine in zip(near[at], cosines[at], strict=True)
            ]
        )
        return {
            "class": int(used[number]),
            "name": names[used[number]],
            "images": int(counts[used[number]]),
            "accuracy": None if np.isnan(value) else round(value, 4),
            "nearest": nearest,
        }

    listed = compared[_evenly(len(compared), _SHOWN)]
    return {
        "collapsed_below": BELOW,
        "collapsed_cosine": COSINE,
        "bands": {
            name: _band(counts[used][band == number], accuracy[used][band == number], collapsed[band == number])
            for number, name in enumerate(BANDS)
        },
        "collapsed_classes": int(collapsed.sum()),
        "compared": 0 if near is None else len(compared),
        "collapsed": [row(int(number)) for number in np.flatnonzero(collapsed)[:_SHOWN]],
        "neighbours": [row(int(number)) for number in listed] if near is not None else [],
    }


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most so many numbers below `count`, the first and the last among them."""
    return np.unique(np.linspace(0, max(0, count - 1), min(count, most)).astype(np.int64))


def _band(counts: NDArray[np.int64], accuracy: NDArray[np.float32], collapsed: NDArray[np.bool_]) -> dict[str, Any]:
    seen = accuracy[~np.isnan(accuracy)]
    return {
        "classes": len(counts),
        "images": int(counts.sum()),
        "collapsed": int(collapsed.sum()),
        "accuracy": round(float(seen.mean()), 4) if len(seen) else None,
    }


def _nearest(
    vectors: Tensor, used: NDArray[np.int64], compared: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(compared, k) nearest other classes of `used`, and their cosines, descending."""
    among, count = vectors[torch.from_numpy(used)], min(_NEAREST, len(used) - 1)
    rows, values = [], []
    for start in range(0, len(compared), _BLOCK):
        block = torch.from_numpy(compared[start : start + _BLOCK])
        cosines = vectors[block] @ among.T
        cosines[block[:, None] == torch.from_numpy(used)[None]] = -torch.inf
        best = cosines.topk(count)
        rows.append(used[best.indices.numpy()])
        values.append(best.values.numpy())
    return np.concatenate(rows), np.concatenate(values)
