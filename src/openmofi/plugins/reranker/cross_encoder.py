"""Cross-encoders of sentence-transformers by `st:PATH-OR-ID`; that library is not needed.

Such a checkpoint is a model of transformers that classifies pairs of texts by one label, whose logit is relevance.
"""

from collections.abc import Sequence

import numpy as np
import torch

from openmofi.arrays import Doubles
from openmofi.encoders.arrays import weights_fingerprint
from openmofi.errors import OpenMofiError
from openmofi.plugins.encoders.huggingface import checkpoint_folder, checkpoint_tokenizer, load_checkpoint
from openmofi.plugins.fusion.questions import LinkQuestion
from openmofi.plugins.reranker.scorer import candidate_text, query_text
from openmofi.storage.foreign import guarded

_AT_ONCE, _MOST_TOKENS = 64, 256


class CrossEncoder:
    """See the module.

    Args:
        location: a folder, or a repository of the Hugging Face hub.

    Raises:
        OpenMofiError: it cannot be read, or has other than one label.
    """

    def __init__(self, location: str) -> None:
        from transformers import AutoModelForSequenceClassification

        folder = checkpoint_folder(location)
        with guarded(f"The model {location}"):
            model, _ = load_checkpoint(AutoModelForSequenceClassification, folder, "cross-encoder")
            self._tokenizer = checkpoint_tokenizer(folder)
        config = model.config
        if config.num_labels != 1:
            raise OpenMofiError(
                f"The model {location} has {config.num_labels} labels; a reranker has one, the relevance.",
                "Use a cross-encoder that reranks, such as cross-encoder/ms-marco-MiniLM-L6-v2.",
            )
        if len(self._tokenizer) > config.vocab_size:
            raise OpenMofiError(
                f"The tokenizer of {location} has {len(self._tokenizer)} tokens, its model {config.vocab_size}.",
                "Copy the whole checkpoint.",
            )
        self._length = min(_MOST_TOKENS, int(getattr(config, "max_position_embeddings", _MOST_TOKENS)))
        self._model = model.eval()
        self.fingerprint = weights_fingerprint(model.state_dict())

    @torch.inference_mode()
    def relevance(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """See `Scorer.relevance`: the model's logits."""
        pairs = [(query_text(one), candidate_text(candidate)) for one in questions for candidate in one.candidates]
        order = sorted(range(len(pairs)), key=lambda index: sum(map(len, pairs[index])))
        logits = np.zeros(len(pairs))
        for start in range(0, len(order), _AT_ONCE):
            rows = order[start : start + _AT_ONCE]
            tokens = self._tokenizer(
                [pairs[row][0] for row in rows],
                [pairs[row][1] for row in rows],
                padding=True,
                truncation="longest_first",
                max_length=self._length,
                return_tensors="pt",
            )
            logits[rows] = self._model(**tokens).logits[:, 0].double().numpy()
        return np.split(logits, np.cumsum([len(one.candidates) for one in questions])[:-1])
