"""CoCa of open_clip (arXiv 2205.01917) as a captioner: what MobileCLIP's authors wrote their synthetic captions with.

open_clip's own `generate` needs classes that transformers 5 no longer has, so the few lines of nucleus sampling
(arXiv 1904.09751) are here, with the authors' values (apple/ml-mobileclip-dr, scripts/gen.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

from openmofi.arrays import Doubles
from openmofi.encoders.preprocess import Preprocessing, preprocess
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.encoders.open_clip import build, preprocessing_of, weights_file
from openmofi.plugins.encoders.open_clip_sources import ModelSource, folder_source, is_folder, source_of
from openmofi.quiet import quiet_logging
from openmofi.storage import file_fingerprint, fingerprint

PREFIX = "open_clip:"
_START, _END = 49_406, 49_407  # of CLIP's vocabulary
_MASS = 0.9
_LEAST, _MOST = 5, 30
"""Tokens of a caption; both ends count."""


@dataclass(frozen=True)
class Coca:
    """See `captioner.Captioner`. Random numbers come from the image's pixels, so that a batch changes only rounding.

    Attributes:
        model: open_clip's `CoCa`, in evaluation.
        preprocessing: of its images.
        device: torch's name of it.
    """

    model: Any
    preprocessing: Preprocessing
    device: str

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image.Image], count: int) -> list[list[str]]:
        """RGB images, and how many texts to write about each → these, as drawn."""
        if not images or not count:
            return [[] for _ in images]
        pixels = np.stack([preprocess(image, self.preprocessing) for image in images])
        latent, tokens = self.model._encode_image(torch.from_numpy(pixels).to(self.device))

        def following(text: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            given = {"image_latent": latent[rows], "image_embs": tokens[rows], "output_labels": False}
            return self.model(None, text, **given)["logits"][:, -1].float().softmax(-1).cpu()

        draws = np.concatenate([_draws(image, count) for image in images])
        texts = _sampled(following, torch.arange(len(images)).repeat_interleave(count), draws, self.device)
        written = [_cleaned(open_clip.decode(text)) for text in texts]
        return [written[start : start + count] for start in range(0, len(written), count)]


def open_coca(argument: str, device: str) -> Coca:
    """Open `ARCH/TAG`, `ARCH/FILE`, `local-dir:FOLDER` or `hf-hub:OWNER/NAME`, see `open_open_clip`.

    Raises:
        UsageError: no such model, or one that writes nothing.
        OpenMofiError: the weights are missing, damaged, or do not fit.
    """
    source = _source(argument)
    if not _writes_clip_tokens(source.config):
        raise UsageError(f"{PREFIX}{argument} writes no captions in CLIP's tokens.", "Choose a CoCa: coca_ViT-L-14.")
    with quiet_logging():
        model = build(source).eval().requires_grad_(False).to(device)
    return Coca(model, preprocessing_of(model.visual.preprocess_cfg, f"{PREFIX}{argument}"), device)


def _writes_clip_tokens(config: Mapping[str, Any]) -> bool:
    """Whether a model of this configuration, perhaps a stranger's, writes texts of `_MOST` tokens of CLIP's."""
    text, decoder = config["text_cfg"], config.get("multimodal_cfg")
    if decoder is None or text.get("hf_tokenizer_name") or text.get("vocab_size", _END + 1) != _END + 1:
        return False
    lengths = (text.get("context_length", _MOST), decoder.get("context_length", _MOST))
    return all(isinstance(length, int) and length >= _MOST for length in lengths)


def coca_fingerprint(argument: str) -> str:
    """Fingerprint of the configuration and of the weights' file."""
    source = _source(argument)
    path = weights_file(source)
    return fingerprint([dict(source.config), source.seed if path is None else file_fingerprint(path)])


def _source(argument: str) -> ModelSource:
    arch, _, weights = argument.partition("/")
    return folder_source(argument) if is_folder(argument) else source_of(arch, weights)


def _draws(image: Image.Image, count: int) -> Doubles:
    """(count, tokens) uniform numbers, equal for equal pixels."""
    seed = int.from_bytes(blake2b(image.tobytes(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).random((count, _MOST))


def _sampled(
    following: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    draws: Doubles,
    device: str,
) -> list[torch.Tensor]:
    """Write a text of each row, token by token: the next one is drawn of the likeliest that have `_MASS` together.

    Args:
        following: texts (n, length) and the number of each one's image (n,) → (n, vocabulary) probabilities of the
            next token.
        images: (rows,) number of each row's image.
        draws: (rows, `_MOST`) uniform numbers.
        device: of the texts that `following` takes.

    Returns:
        Token ids of each row, from the start token; end tokens fill up what is shorter than the longest.

    Raises:
        OpenMofiError: a probability is not finite.
    """
    texts = torch.full((len(images), 1), _START)
    going = torch.arange(len(images))
    for place in range(1, _MOST - 1):
        shares = following(texts[going].to(device), images[going])
        if not shares.isfinite().all():
            raise OpenMofiError(
                "A captioner's probabilities are not finite numbers.", "Its weights are damaged: fetch them again."
            )
        if place < _LEAST:
            shares[:, _END] = 0
        ordered, ids = shares.sort(dim=1, descending=True)
        beyond = ordered.cumsum(1) - ordered >= _MASS * ordered.sum(1, keepdim=True)
        # In the order of ids: what is about as likely may change places, and would move all limits after it.
        limits = shares.masked_fill(beyond.scatter(1, ids, beyond), 0).double().cumsum(1)
        drawn = torch.from_numpy(draws[going.numpy(), place])[:, None] * limits[:, -1:]
        chosen = (limits <= drawn).sum(1, keepdim=True).clamp(max=shares.shape[1] - 1)
        tokens = torch.full((len(images), 1), _END)
        tokens[going] = chosen
        texts = torch.cat([texts, tokens], 1)
        going = going[chosen[:, 0] != _END]
        if not len(going):
            break
    return list(texts)


def _cleaned(text: str) -> str:
    """The first sentence, as the authors keep it."""
    return text.split("<end_of_text>")[0].split("<start_of_text>")[-1].split(".")[0].strip()
