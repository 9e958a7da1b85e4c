"""The bi-encoder that the fusion decoder is compared with: a sentence encoder's cosine of mention and candidate.

A mention is read as "lemma: sentence", a candidate as "lemmas: gloss"; neither sees the other, so the embeddings of
candidates could be stored. Untrained it is the package's MiniLM; tuned, it is trained on the fusion decoder's examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from openmofi.objectives.protocol import Batch
from openmofi.plugins.fusion.examples import NIL, LinkCandidate, LinkExample
from openmofi.plugins.fusion.fusion_settings import FusionSettings, LinkRecipe
from openmofi.plugins.fusion.model import segment_log_softmax
from openmofi.plugins.fusion.store import minilm_folder
from openmofi.plugins.fusion.text import FusionTokens, load_tokenizer
from openmofi.plugins.fusion.training import MeanLoss, split_examples, train_linker_state
from openmofi.plugins.fusion.training_data import LinkExamples
from openmofi.quiet import quiet_transformers
from openmofi.storage import claimed, file_fingerprint, finish_manifest
from openmofi.training.distributed import training_process
from openmofi.training.log import Watcher
from openmofi.training.model import freeze
from openmofi.training.optimization import dense_optimizer
from openmofi.training.run import OUTPUTS, deciding_settings
from openmofi.training.state import RunState, Term

_MAX_TOKENS = 128
# Texts of like lengths that pass the encoder together; see `openmofi.plugins.fusion.model`.
_AT_ONCE, _AT_ONCE_CPU = 128, 16
_SCALE = 20.0


def mention_text(example: LinkExample) -> str:
    """Return "lemma: sentence"; the mention itself where the group is no lemma with its part of speech."""
    lemma, dot, part = example.group.rpartition(".")
    return f"{lemma if dot and len(part) == 1 else example.mention}: {example.text}"


def candidate_text(candidate: LinkCandidate) -> str:
    """Return "lemmas: gloss"."""
    return f"{candidate.title}: {candidate.description}" if candidate.description else candidate.title


class BiEncoder(nn.Module):
    """MiniLM as a bi-encoder: mean over tokens, L2-normalised, cosine times a learned factor.

    Args:
        dropout: in training.
    """

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        from transformers import AutoModel

        folder = minilm_folder()
        self.tokenizer: Any = load_tokenizer(folder)
        with quiet_transformers():
            self.encoder: Any = AutoModel.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                add_pooling_layer=False,
                dtype=torch.float32,
                attn_implementation="eager",
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            )
        self.log_scale = nn.Parameter(torch.tensor(float(np.log(_SCALE))))
        self.eval()

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Texts → (n, 384) float32, L2-normalised; equal texts are embedded once."""
        distinct = list(dict.fromkeys(texts))
        tokens = [encoding.ids[:_MAX_TOKENS] for encoding in self.tokenizer.encode_batch(distinct)]
        order = sorted(range(len(distinct)), key=lambda row: len(tokens[row]))
        size = _AT_ONCE_CPU if self.log_scale.device.type == "cpu" else _AT_ONCE
        pieces = [
            self._embed([tokens[row] for row in order[start : start + size]]) for start in range(0, len(order), size)
        ]
        index = {distinct[row]: position for position, row in enumerate(order)}
        return torch.cat(pieces)[[index[text] for text in texts]]

    def _embed(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        lengths = torch.tensor([len(text) for text in tokens])
        ids = torch.zeros(len(tokens), int(lengths.max()), dtype=torch.int64)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = torch.tensor(text)
        device = self.log_scale.device
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).to(device)
        states = self.encoder(input_ids=ids.to(device), attention_mask=mask.long()).last_hidden_state.float()
        weights = mask[..., None].float()
        return nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=1)

    def forward(self, mentions: Sequence[str], candidates: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        """(N,) scores of all candidates in a row, and (N,) the mention of each."""
        segment = torch.repeat_interleave(
            torch.arange(len(mentions)), torch.tensor([len(listed) for listed in candidates])
        )
        flat = [text for listed in candidates for text in listed]
        embeddings = self.embed([*mentions, *flat])
        scores = (embeddings[: len(mentions)][segment] * embeddings[len(mentions) :]).sum(1)
        return scores * self.log_scale.exp(), segment.to(scores.device)


@torch.no_grad()
def bi_encoder_answers(model: BiEncoder, examples: Sequence[LinkExample], *, at_once: int = 2048) -> list[str]:
    """Identifiers of the candidates with the highest cosine; `NIL` only where none is listed.

    Of `at_once` examples, equal texts (candidates of one lemma, say) are embedded once.
    """
    training = model.training
    model.eval()
    answers: list[str] = []
    for start in range(0, len(examples), at_once):
        batch = [example for example in examples[start : start + at_once] if example.listed]
        scores: list[Tensor] = []
        if batch:
            flat, _ = model(
                [mention_text(example) for example in batch],
                [[candidate_text(candidate) for candidate in example.listed] for example in batch],
            )
            scores = list(flat.split([len(example.listed) for example in batch]))
        remaining = iter(scores)
        answers += [
            example.listed[int(next(remaining).argmax())].id if example.listed else NIL
            for example in examples[start : start + at_once]
        ]
    model.train(training)
    return answers


def tune_bi_encoder(recipe: LinkRecipe, out: str | Path, *, resume: bool = False, watcher: Watcher) -> BiEncoder:
    """Train MiniLM as a bi-encoder on the recipe's examples, as the fusion decoder is trained; returns the best model.

    Of the recipe's model only the dropout is used.

    Args:
        recipe: see `LinkRecipe`; `text_lr_multiplier` is for all of MiniLM.
        out: folder of log and checkpoints.
        resume, watcher: see `train_linker`.

    Raises:
        UsageError, OpenMofiError, KeyboardInterrupt: as `train_linker`.
    """
    with claimed(
        out, "run", deciding_settings(recipe), {"/examples": file_fingerprint(recipe.data.examples)}, outputs=OUTPUTS
    ) as manifest:
        model, counts = _tune(recipe, Path(out), resume=resume, watcher=watcher)
        finish_manifest(out, manifest, counts)
        return model


def _tune(recipe: LinkRecipe, out: Path, *, resume: bool, watcher: Watcher) -> tuple[BiEncoder, dict[str, Any]]:
    train, validation = split_examples(recipe)
    torch.manual_seed(recipe.run.seed)
    model = BiEncoder(recipe.model.dropout)
    tokens = FusionTokens(model.tokenizer, FusionSettings())
    data = LinkExamples(train, recipe.data, tokens, recipe.run.seed)
    freeze(model, recipe.freeze, "freeze")
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    settings = recipe.optimizer
    group = {
        "params": list(trained.values()),
        "names": list(trained),
        "lr_scale": settings.text_lr_multiplier,
        "weight_decay": settings.weight_decay,
    }

    def forward(batch: Batch) -> Mapping[str, Tensor]:
        rows = batch["row"].tolist()
        questions = [data.mention(row, epoch) for row, epoch in zip(rows, batch["epoch"].tolist(), strict=True)]
        with torch.autocast(model.log_scale.device.type, torch.bfloat16, enabled=recipe.run.precision == "bf16"):
            scores, segment = model(
                [mention_text(data.examples[row]) for row in rows],
                [[candidate_text(candidate) for candidate in question.candidates] for question in questions],
            )
        logs = segment_log_softmax(scores.float(), segment, len(rows)).split(
            [len(question.candidates) for question in questions]
        )
        chosen = torch.stack([values[question.target] for values, question in zip(logs, questions, strict=True)])
        best = torch.stack([values.detach().max() for values in logs])
        return {"loss": -chosen, "right": (chosen.detach() >= best).float()}

    def measure(examples: Sequence[LinkExample]) -> float:
        answers = bi_encoder_answers(model, examples)
        return sum(answer == example.gold for answer, example in zip(answers, examples, strict=True)) / len(examples)

    with training_process(recipe.run.threads) as ranks:
        model.to(ranks.device)
        state = RunState(
            model,
            {"bi_encoder": Term(MeanLoss(), 1.0)},
            {"linker": dense_optimizer([group], settings, settings.clip)},
            None,
            ranks,
        )
        counts = train_linker_state(
            state, recipe, out, data, forward, validation, measure, resume=resume, watcher=watcher
        )
    return model.eval(), counts
