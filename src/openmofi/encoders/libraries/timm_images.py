"""timm's image models as encoders of images alone: `timm:NAME`, `timm:NAME/TAG`, `timm:NAME/FILE`."""

from __future__ import annotations

from pathlib import Path

import torch

from openmofi.encoders.arrays import numpy_of, weights_fingerprint
from openmofi.encoders.encoder import Encoder, Towers
from openmofi.encoders.libraries import timm as towers_timm
from openmofi.encoders.networks import Networks
from openmofi.encoders.protocol import Array
from openmofi.errors import UsageError
from openmofi.quiet import quiet_logging
from openmofi.storage import fingerprint

_FILES = (".safetensors", ".pt", ".pth", ".bin")
_OPTIONS = ("size", "seed")


def open_timm(spec: str, rest: str, device: str) -> Encoder:
    """Open `NAME[/WEIGHTS][?size=N]`: the model's pooled features, without a classifier.

    WEIGHTS: a tag of timm (`vit_base_patch14_dinov2/lvd142m`; by default the model's first), a weights file, or `none`
    with `?seed=N` (untrained: tests, benchmarks). `size`: images of another size than the model's own, in pixels, as
    DINOv2 is evaluated at 224 and timm has it at 518.

    Raises:
        UsageError: no such model, tag or option.
        OpenMofiError: the weights cannot be fetched, are damaged, do not fit, or would have to be unpickled.
    """
    place, options = options_of(spec, rest)
    name, _, source = place.partition("/")
    pretrained = "default"
    if source == "none":
        pretrained = ""
    elif Path(source).suffix in _FILES:
        pretrained = source
    elif source:
        name = f"{name}.{source}"
    size = options.get("size", 0)
    with quiet_logging(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.get("seed", 0))
        trunk = towers_timm.image(name, pretrained, size, 0.0)
    module = trunk.module.eval().requires_grad_(False).to(device)
    preprocessing = towers_timm.preprocessing(name, pretrained, size)

    @torch.inference_mode()
    def run(pixels: Array) -> Array:
        return numpy_of(module(torch.from_numpy(pixels).to(device)))

    weights = fingerprint([trunk.architecture, weights_fingerprint(module.state_dict())])
    return Encoder.of(spec, Towers(run, None, None, trunk.dim, weights, Networks(module)), preprocessing, None)


def options_of(spec: str, rest: str) -> tuple[str, dict[str, int]]:
    """`PLACE?size=N&seed=N` → the place and the options.

    Raises:
        UsageError: an unknown option, or no number.
    """
    place, mark, text = rest.partition("?")
    pairs = [part.partition("=") for part in text.split("&")] if mark else []
    wrong = next((f"{key}={value}" for key, _, value in pairs if key not in _OPTIONS or not value.isdecimal()), None)
    if wrong is not None:
        raise UsageError(f"The option {wrong!r} of {spec!r} is unknown.", "There is ?size=PIXELS, and ?seed=N of none.")
    return place, {key: int(value) for key, _, value in pairs}
