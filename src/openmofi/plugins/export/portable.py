"""Tokenizers of exports that need no PyTorch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from openmofi.encoders.preprocess import Tokens
from openmofi.encoders.tokens import ClipTokens, OpenClipTokens


def portable_tokens(
    tokens: Tokens,
    tokenizer: Mapping[str, Any],
    texts: Sequence[str],
) -> tuple[Tokens, Mapping[str, Any]]:
    """Return an equal tokenizer that needs no PyTorch, or the same one where there is none, and its description.

    Args:
        tokens, tokenizer: see `networks.Networks`.
        texts: on which both have to agree.
    """
    simple = tokens.tokenizer if isinstance(tokens, OpenClipTokens) and not tokens.files else None
    if (
        simple is None
        or simple.reduction_fn is not None
        or not all(hasattr(simple, name) for name in ("bpe_ranks", "encoder", "pat"))
    ):
        return tokens, tokenizer
    made = clip_tokens(simple)
    return (made, made.described()) if np.array_equal(made(texts), tokens(texts).numpy()) else (tokens, tokenizer)


def clip_tokens(simple: Any) -> ClipTokens:
    """Convert open_clip's `SimpleTokenizer`, which lowers case and has no way of its own to shorten texts."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.__getitem__)
    made = Tokenizer(models.BPE(vocab=dict(simple.encoder), merges=merges, end_of_word_suffix="</w>"))
    made.add_special_tokens([simple.decoder[simple.sot_token_id], simple.decoder[simple.eot_token_id]])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(f"(?i:{simple.pat.pattern})"), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return ClipTokens(made, int(simple.context_length), int(simple.sot_token_id), int(simple.eot_token_id))
