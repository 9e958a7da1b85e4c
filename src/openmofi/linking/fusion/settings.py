"""What the fusion decoder can be told."""

from __future__ import annotations

from dataclasses import dataclass

from openmofi.errors import UsageError
from openmofi.linking.settings import LinkSettings

HEADS = ("select", "generate")


@dataclass(frozen=True)
class FusionSettings:
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

    base: str = "minilm"
    tokenizer: str = "minilm"
    head: str = "select"
    context_tokens: int = 128
    candidate_tokens: int = 50
    description: bool = True
    type: bool = True
    fusion: bool = True
    similarity: bool = True
    width: int = 128
    layers: int = 2
    heads: int = 6
    feed_forward: int = 768
    decoder_layers: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise UsageError(f"The head {self.head!r} is none of {', '.join(HEADS)}.")
        for name in ("context_tokens", "candidate_tokens", "width", "layers", "heads", "feed_forward",
                     "decoder_layers"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1.")


@dataclass(frozen=True)
class FusionLinkSettings(LinkSettings):
    """The fusion decoder as a linker.

    Attributes:
        prior_margin: a name whose commonest meaning leads the second one by this much is answered by its prior.
        mentions_at_once: of a forward pass.
        cache: most mentions remembered by context and span.
    """

    prior_margin: float = 0.95
    mentions_at_once: int = 32
    cache: int = 100_000
