"""Evaluators: what the loop measures every few steps, which chooses the best checkpoint and an early end.

A hook of the loop, as in big_vision (https://github.com/google-research/big_vision, `evaluators/`). Encoders are
measured on held-out rows by the metrics of `openmofi.evaluation`. Training is not disturbed: a copy of the towers
embeds, and torch's random state is restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from openmofi.arrays import Floats, Ints
from openmofi.encoders.arrays import normalised
from openmofi.evaluation.bands import by_band
from openmofi.evaluation.metrics.ranking import nearest_neighbours
from openmofi.evaluation.metrics.retrieval import evaluate_retrieval
from openmofi.evaluation.metrics.zero_shot import class_embeddings, evaluate_zero_shot
from openmofi.objectives.collectives import gather
from openmofi.objectives.protocol import Batch, Embeddings
from openmofi.training.data import TrainingData
from openmofi.training.data.held_out import HeldOut
from openmofi.training.grad_cache import Forward, micro_batches
from openmofi.training.model import DualEncoder
from openmofi.training.recipe.schema import EvaluateSettings
from openmofi.training.state import RunState

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
