"""Rerankers behind a server: `POST ADDRESS/rerank` as Cohere, Jina, vLLM and llama.cpp take it, or as TEI does.

Asked is `{"model": …, "query": …, "documents": […]}`, answered `{"results": [{"index": 0, "relevance_score": .9}]}`.
Text Embeddings Inference wants `texts` instead and answers `[{"index": 0, "score": .9}]`; it is asked so once it has
refused the former.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openmofi.arrays import Doubles
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.fusion.questions import LinkQuestion
from openmofi.plugins.json_server import TOKEN, JsonServer, Reply, client
from openmofi.plugins.reranker.scorer import candidate_text, query_text
from openmofi.storage import fingerprint

SCALES = ("probability", "logit")
_LEAST = 1e-6


def open_server(address: str, model: str, scale: str) -> RerankServer:
    """Open the server at an address, without asking it anything yet.

    Args:
        address: what `/rerank` is appended to where it does not end so.
        model: is asked for by its name; "" for a server that has one.
        scale: of its scores: `probability` (0 to 1) or `logit`.

    Raises:
        UsageError: the scale is unknown.
        MissingExtraError: httpx2 is not installed.
    """
    if scale not in SCALES:
        raise UsageError(f"Unknown value {scale!r} for scores.", f"Use {' or '.join(SCALES)}.")
    return RerankServer(address.rstrip("/").removesuffix("/rerank"), client(), "reranker", model, scale)


@dataclass
class RerankServer(JsonServer):
    """A server and its model; see `openmofi.plugins.reranker.scorer.Scorer`.

    Attributes:
        model, scale: see `open_server`.
        documents: the name of the candidates in a request; `texts` once the server has refused `documents`.
    """

    model: str = ""
    scale: str = SCALES[0]
    documents: str = "documents"

    @property
    def fingerprint(self) -> str:
        """Its address and model; a server that changes behind them isn't noticed."""
        return fingerprint([self.address, self.model, self.scale])

    def relevance(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """See `Scorer.relevance`; one request a question, one after another."""
        return [
            self._asked(query_text(one), [candidate_text(candidate) for candidate in one.candidates])
            for one in questions
        ]

    def _asked(self, query: str, documents: Sequence[str]) -> Doubles:
        body = {"query": query} | ({"model": self.model} if self.model else {})
        response = self.send("POST", "rerank", body | {self.documents: documents})
        if self.documents == "documents" and response.status_code in (400, 422):
            other = self.send("POST", "rerank", body | {"texts": documents})
            if other.is_success:
                self.documents, response = "texts", other
        if not response.is_success:
            raise self.refusal(response, f"Check the address, the model {self.model!r} (?model=NAME) and {TOKEN}.")
        scores = _scores_in(response, len(documents))
        if scores is None:
            raise self.refusal(response, "It has to answer as Cohere's /rerank or TEI's does: a score a document.")
        if self.scale == "logit":
            return scores
        if ((scores < 0) | (scores > 1)).any():
            raise OpenMofiError(
                f"The reranker {self.address} gives scores outside 0 to 1: {scores.min():g} to {scores.max():g}.",
                "They are logits: add ?scores=logit to its address.",
            )
        clipped = scores.clip(_LEAST, 1 - _LEAST)
        logits: Doubles = np.log(clipped) - np.log1p(-clipped)
        return logits


def _scores_in(response: Reply, count: int) -> Doubles | None:
    """Return a response's scores by document; `None` where it is not one for each."""
    try:
        said: Any = json.loads(response.text)
        results = said["results"] if isinstance(said, dict) else said
        by_index = {
            int(one["index"]): float(one["relevance_score"] if "relevance_score" in one else one["score"])
            for one in results
        }
        scores = np.array([by_index[index] for index in range(count)])
    except (ValueError, LookupError, TypeError, RecursionError, OverflowError):
        return None
    return scores if np.isfinite(scores).all() else None
