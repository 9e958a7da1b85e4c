"""Learning from what teachers know of the pairs, beside the pairs themselves (MobileCLIP, arXiv 2311.17049, §3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softmax
from torch.utils.checkpoint import checkpoint

from openmofi.errors import UsageError
from openmofi.objectives.collectives import gather, gather_with_gradient, sum_over_ranks, world_size
from openmofi.objectives.pairwise import at_least_float
from openmofi.objectives.positives import Positives
from openmofi.objectives.protocol import Batch, Embeddings, ObjectiveResult
from openmofi.objectives.settings import ReinforcedSettings

KNOWN = "known"
_IDS = {"text": "text_id", "caption": "caption_id"}
_LOW = -1e30  # of logits that do not count: their share is 0, and nothing overflows


def teacher_key(teacher: str, what: str) -> str:
    """The entry of a batch that holds a teacher's embeddings of `what` (`image`, `text`, `caption`): (B, D_k)."""
    return f"teacher/{teacher}/{what}"


@dataclass(frozen=True)
class _Side:
    """Images of one rank and their texts of one kind, beside those of all ranks.

    Attributes:
        image, text: (b, D) rows.
        all_image, all_text: (N, D).
        teachers: a teacher's (b, D_k) images and texts of the rows, its (N, D_k) of all, and its scale.
        known, all_known: (b,) and (N,) bool: which the teachers know.
        positive: (b, N) bool.
    """

    image: Tensor
    text: Tensor
    all_image: Tensor
    all_text: Tensor
    teachers: tuple[tuple[Tensor, Tensor, Tensor, Tensor, float], ...]
    known: Tensor
    all_known: Tensor
    positive: Tensor


class Reinforced(nn.Module):
    """(1 − λ) · InfoNCE + λ · distillation, on real and on synthetic texts with one pass of the images.

    Distillation is the cross-entropy of the student's softmax over the batch against the mean of the teachers' (§3.3,
    equation 3), from images to texts and back; each teacher has its own scale. Each rank computes its rows against
    the pairs of all ranks, in both directions: a row's target sums to one on any number of ranks. A sample that no
    teacher knows has InfoNCE alone, and is no candidate of any other's distillation.

    Args:
        settings: see `ReinforcedSettings`.
        scales: teacher → factor on its cosines.

    Attributes:
        log_scale: scalar parameter; the student's factor on cosines is its exponential.

    Raises:
        UsageError: there is no teacher, or a scale is not a positive number.
    """

    def __init__(self, settings: ReinforcedSettings, scales: Mapping[str, float]) -> None:
        super().__init__()
        if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales.values()):
            raise UsageError(f"objectives.reinforced has the teachers' scales {dict(scales)}.",
                             "Each teacher needs one, a positive number.")
        self.settings, self.scales = settings, dict(scales)
        self.log_scale = nn.Parameter(torch.tensor(math.log(settings.scale)))
        self.after_step()

    def forward(self, embeddings: Embeddings, batch: Batch) -> ObjectiveResult:
        """The loss of a batch.

        Args:
            embeddings: `image`, `text` and, where `settings.captions` is above 0, `caption`: (B, D), L2-normalised.
            batch: `known` (B,) bool; of each teacher `teacher/NAME/image`, `…/text`, `…/caption` (B, D_k) float32,
                L2-normalised; and what the rule of positives asks for (`caption_id` stands for the captions'
                `text_id`).

        Returns:
            The loss, and the metrics `contrastive` and `distillation` (means over rows and kinds of text, the second
            over known rows), `known` (share of rows) and `logit_scale`.
        """
        sides = {"text": 1.0} | ({"caption": self.settings.captions} if self.settings.captions else {})
        image = embeddings["image"]
        with torch.autocast(image.device.type, enabled=False):
            parts = [(weight, self._side(name, embeddings, batch)) for name, weight in sides.items()]
        total = sum((weight * loss for weight, (loss, _) in parts), start=image.new_zeros(()))
        return self._over_ranks(total, torch.stack([found for _, (_, found) in parts]).sum(0), len(parts))

    def _side(self, name: str, embeddings: Embeddings, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean loss of this rank's rows with one kind of text; sums of contrastive, distillation, known, rows."""
        image, text = at_least_float(embeddings["image"]), at_least_float(embeddings[name])
        rows, dim = image.shape
        every = gather_with_gradient(torch.cat([image, text], dim=1))
        known = batch[KNOWN].to(image.device)
        all_known = gather(known.to(torch.uint8)).bool()
        teachers = [self._teacher(teacher, name, batch, image.device) for teacher in self.scales]
        ids = {**batch, "text_id": batch[_IDS[name]]} if _IDS[name] in batch else batch
        positives = Positives(self.settings.positives, ids, rows, image.device)
        chunk = self.settings.chunk or rows
        found = []
        for start in range(0, rows, chunk):
            part = slice(start, min(start + chunk, rows))
            side = _Side(image[part], text[part], every[:, :dim], every[:, dim:],
                         tuple((own[0][part], own[1][part], *of_all, scale) for own, of_all, scale in teachers),
                         known[part], all_known, positives.mask(part.start, part.stop, len(every)))
            found.append(self._rows(side) if chunk >= rows else checkpoint(
                self._rows, side, use_reentrant=False, preserve_rng_state=False))
        loss = sum((one[0] for one in found), start=image.new_zeros(())) / rows
        return loss, torch.stack([one[1] for one in found]).sum(0)

    def _teacher(self, teacher: str, name: str, batch: Batch, device: torch.device) -> tuple[
            tuple[Tensor, Tensor], tuple[Tensor, Tensor], float]:
        image, text = (at_least_float(batch[teacher_key(teacher, what)].to(device)) for what in ("image", name))
        return (image, text), (gather(image), gather(text)), self.scales[teacher]

    def _rows(self, side: _Side) -> tuple[Tensor, Tensor]:
        scale = self.log_scale.exp()
        to_text, to_image = scale * (side.image @ side.all_text.T), scale * (side.text @ side.all_image.T)
        plain = (_plain(to_text, side.positive) + _plain(to_image, side.positive)) / 2
        targets = [teacher_targets([(own[0], own[3], own[4]) for own in side.teachers], side.all_known),
                   teacher_targets([(own[1], own[2], own[4]) for own in side.teachers], side.all_known)]
        taught = (_taught(to_text, targets[0], side.all_known) + _taught(to_image, targets[1], side.all_known)) / 2
        share = self.settings.share * side.known.to(plain.dtype)
        loss = ((1 - share) * plain + share * taught).sum()
        counted = torch.stack([plain.sum(), (taught * side.known).sum(), side.known.to(plain.dtype).sum(),
                               plain.new_tensor(len(plain))])
        return loss, counted.detach().double()

    def _over_ranks(self, loss: Tensor, counted: Tensor, sides: int) -> ObjectiveResult:
        totals = sum_over_ranks(torch.cat([loss.detach().double()[None], counted]))
        mean = (totals[0] / world_size()).to(loss.dtype)
        plain, taught, known, rows = totals[1:]
        metrics = {"contrastive": (plain / rows).float(), "distillation": (taught / known.clamp_min(1)).float(),
                   "known": (known / rows).float(), "logit_scale": self.log_scale.detach().exp()}
        # The value is the global mean, the gradient that of this rank's rows.
        return ObjectiveResult(loss + (mean - loss).detach(), metrics)

    def sharded_parameters(self) -> dict[str, int]:
        """None: the scale is replicated."""
        return {}

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the scale at most `settings.max_scale`."""
        self.log_scale.clamp_(max=math.log(self.settings.max_scale))


def teacher_targets(teachers: list[tuple[Tensor, Tensor, float]], known: Tensor) -> Tensor:
    """(b, N) float32 rows that sum to one: the mean over teachers of softmax(s_k · rows · allᵀ) over what is known.

    Args:
        teachers: (b, D_k) rows, (N, D_k) all of the other kind, and the scale of each.
        known: (N,) bool.
    """
    found = [softmax((scale * (rows @ every.T)).masked_fill(~known, _LOW), dim=1) for rows, every, scale in teachers]
    return torch.stack(found).mean(0)


def _plain(logits: Tensor, positive: Tensor) -> Tensor:
    found = torch.where(positive, log_softmax(logits, dim=1), 0).sum(1)
    return -found / positive.sum(1)


def _taught(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    return -(target * log_softmax(logits.masked_fill(~known, _LOW), dim=1)).sum(1)
