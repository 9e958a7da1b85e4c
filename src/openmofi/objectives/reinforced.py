"""Learning from teachers' knowledge of the pairs, beside the pairs themselves (MobileCLIP, arXiv 2311.17049, §3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax

from openmofi.errors import UsageError
from openmofi.objectives.collectives import gather
from openmofi.objectives.objective_settings import ReinforcedSettings
from openmofi.objectives.pairwise import (
    LogitScale,
    PairRows,
    Positives,
    at_least_float,
    mean_over_ranks,
    sum_over_chunks,
)
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult

KNOWN = "known"
LOWEST = -1e30  # of logits that do not count: their share is 0, and nothing overflows
_IDS = {"text": "text_id", "caption": "caption_id"}


def teacher_key(teacher: str, what: str) -> str:
    """The entry of a batch that holds a teacher's embeddings of `what` (`image`, `text`, `caption`): (B, D_k)."""
    return f"teacher/{teacher}/{what}"


_Rows = list[tuple[Tensor, Tensor, float]]
"""Of each teacher: (B, D_k) embeddings of this rank's images or texts, (N, D_k) of all of the other kind, its scale."""


class Reinforced(LogitScale):
    """(1 − λ) · InfoNCE + λ · distillation, on real and on synthetic texts with one pass of the images.

    Distillation is the cross-entropy of the student's softmax over the batch against the mean of the teachers' (§3.3,
    equation 3), from images to texts and back; each teacher has its own scale. Each rank computes its rows against
    the pairs of all ranks, in both directions: a row's target sums to one on any number of ranks. A sample that no
    teacher knows has InfoNCE alone, and is no candidate in the distillation of others.

    Args:
        settings: see `ReinforcedSettings`.
        scales: teacher → factor on its cosines.

    Attributes:
        log_scale: scalar parameter; the student's factor on cosines is its exponential.

    Raises:
        UsageError: there is no teacher, or a scale is not a positive number.
    """

    def __init__(self, settings: ReinforcedSettings, scales: Mapping[str, float]) -> None:
        if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales.values()):
            raise UsageError(
                f"The scales of objectives.reinforced's teachers are {dict(scales)}.",
                "Give at least one teacher, each with a positive scale.",
            )
        super().__init__(settings.scale, settings.max_scale)
        self.settings, self.scales = settings, dict(scales)

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """The loss of a batch.

        Args:
            embeddings: `image`, `text` and, where `settings.captions` is above 0, `caption`: (B, D), L2-normalised.
            batch: `known` (B,) bool; of each teacher `teacher/NAME/image`, `…/text`, `…/caption` (B, D_k) float32,
                L2-normalised; and the entries that the rule of positives needs (`caption_id` stands for the captions'
                `text_id`).

        Returns:
            The loss, and the metrics `contrastive` and `distillation` (means over rows and kinds of text, the second
            over known rows), `known` (share of rows) and `logit_scale`.
        """
        weights = {"text": 1.0} | ({"caption": self.settings.captions} if self.settings.captions else {})
        image = embeddings["image"]
        with torch.autocast(image.device.type, enabled=False):
            parts = [(weight, *self._with_texts(kind, embeddings, batch)) for kind, weight in weights.items()]
        local = sum((weight * loss for weight, loss, _ in parts), start=image.new_zeros(()))
        loss, totals = mean_over_ranks(local, torch.stack([sums for _, _, sums in parts]).sum(0))
        plain, taught, known, rows = totals
        return ObjectiveResult(
            loss,
            {
                "contrastive": (plain / rows).float(),
                "distillation": (taught / known.clamp_min(1)).float(),
                "known": (known / rows).float(),
                "logit_scale": self.log_scale.detach().exp(),
            },
        )

    def _with_texts(self, kind: str, embeddings: Embeddings, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean loss of this rank's rows with one kind of text; sums of contrastive, distillation, known, rows."""
        image, text = at_least_float(embeddings["image"]), at_least_float(embeddings[kind])
        known = batch[KNOWN].to(image.device)
        all_known = gather(known.to(torch.uint8)).bool()
        images: _Rows = []
        texts: _Rows = []
        for name, scale in self.scales.items():
            of_images, of_texts = (
                at_least_float(batch[teacher_key(name, what)].to(image.device)) for what in ("image", kind)
            )
            texts.append((of_texts, gather(of_images), scale))
            images.append((of_images, gather(of_texts), scale))
        ids = {**batch, "text_id": batch[_IDS[kind]]} if _IDS[kind] in batch else batch
        positives = Positives(self.settings.positives, ids, len(image), image.device)
        return sum_over_chunks(
            lambda rows: self._loss(rows, images, texts, known[rows.part], all_known),
            image,
            text,
            positives,
            self.settings.chunk,
        )

    def _loss(
        self, rows: PairRows, images: _Rows, texts: _Rows, known: Tensor, all_known: Tensor
    ) -> tuple[Tensor, Tensor]:
        scale = self.log_scale.exp()
        contrastive, distilled = [], []
        for own, every, teachers in ((rows.image, rows.all_text, images), (rows.text, rows.all_image, texts)):
            logits = scale * (own @ every.T)
            target = teacher_targets(
                [(of_own[rows.part], of_every, factor) for of_own, of_every, factor in teachers], all_known
            )
            student = log_softmax(logits.masked_fill(~all_known, LOWEST), dim=1)
            contrastive.append(-torch.where(rows.positive, log_softmax(logits, dim=1), 0).sum(1) / rows.positive.sum(1))
            distilled.append(-(target * student).sum(1))
        plain, taught = (contrastive[0] + contrastive[1]) / 2, (distilled[0] + distilled[1]) / 2
        share = self.settings.share * known.to(plain.dtype)
        loss = ((1 - share) * plain + share * taught).sum()
        sums = torch.stack(
            [plain.sum(), (taught * known).sum(), known.to(plain.dtype).sum(), plain.new_tensor(len(plain))]
        )
        return loss, sums.detach().double()


def teacher_targets(teachers: list[tuple[Tensor, Tensor, float]], known: Tensor) -> Tensor:
    """(b, N) float32 rows that sum to one: the mean over teachers of softmax(s_k · rows · allᵀ) over what is known.

    Args:
        teachers: (b, D_k) rows, (N, D_k) all of the other kind, and the scale of each.
        known: (N,) bool.
    """
    shares = [softmax((scale * (rows @ every.T)).masked_fill(~known, LOWEST), dim=1) for rows, every, scale in teachers]
    return torch.stack(shares).mean(0)
