"""Settings of the fusion decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import Fraction, PositiveInt, ProperFraction, Settings
from openmofi.linking.protocol import LinkSettings


@dataclass(frozen=True)
class FusionSettings(Settings):
    """The model (arXiv 2404.01626; what the paper leaves open is chosen here).

    Attributes:
        base: `hf:PATH`, a local folder of transformers: a T5-like model as it is, or an encoder alone (BERT-like), over
            which a small decoder is put; `minilm`, the encoder that the sample world's package ships; or `scratch`,
            a T5 of the sizes below with random weights.
        tokenizer: of `scratch`: `minilm`, or a folder of transformers with a tokenizer.
        head: `select` (one decoding step over the candidates, NIL among them) or `generate` (the title, as the paper).
        context_tokens: most tokens of the text around the mention, the mention among them.
        candidate_tokens: most tokens of title, description and type together.
        description, type: whether the candidate's text has them.
        fusion: the decoder attends to all candidates at once; without, to each alone (an ablation).
        similarity: `select` adds, scaled, the cosine of the means of the context's and the candidate's states: what an
            encoder of sentences knows already at the start.
        width, layers, heads, feed_forward: sizes of `scratch`; the latter two also of a decoder that is put over an
            encoder.
        decoder_layers: of both.
        dropout: in training; a T5 given by `hf:` keeps its own.
    """

    base: Annotated[str, Meta(pattern="^(minilm$|scratch$|hf:.)", description="minilm, scratch or hf:FOLDER")] = (
        "minilm"
    )
    tokenizer: str = "minilm"
    head: Literal["select", "generate"] = "select"
    context_tokens: PositiveInt = 128
    candidate_tokens: PositiveInt = 50
    description: bool = True
    type: bool = True
    fusion: bool = True
    similarity: bool = True
    width: PositiveInt = 128
    layers: PositiveInt = 2
    heads: PositiveInt = 6
    feed_forward: PositiveInt = 768
    decoder_layers: PositiveInt = 2
    dropout: ProperFraction = 0.1


@dataclass(frozen=True)
class FusionLinkSettings(LinkSettings):
    """The fusion decoder as a linker.

    Attributes:
        prior_margin: a name whose commonest meaning leads the second one by this much is answered by its prior.
        mentions_at_once: of a forward pass.
        cache: most mentions remembered by context and span.
    """

    prior_margin: Fraction = 0.95
    mentions_at_once: PositiveInt = 32
    cache: int = 100_000
