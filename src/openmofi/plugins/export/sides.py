"""One side of an encoder as a library's own network and an affine map behind it, which its last projection takes in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from openmofi.arrays import Array
from openmofi.encoders import Encoder, Head, open_encoder
from openmofi.encoders.arrays import in_batches, normalised
from openmofi.encoders.folder import read_description
from openmofi.encoders.networks import Networks, pooled
from openmofi.encoders.trained import open_towers
from openmofi.errors import UsageError

_BATCH = 32
Embed = Callable[[Sequence[Any]], Array]


@dataclass(frozen=True)
class Opened:
    """A checkpoint as its library opens it, with the library's own preprocessing and tokenizer.

    Attributes:
        images: RGB PIL images → float32 (n, dim), L2-normalised.
        texts: the same of texts; `None` without a text side.
    """

    images: Embed
    texts: Embed | None


def batched(embed: Callable[[list[Any]], Any]) -> Embed:
    """Wrap a function of a batch as one of any number of items, whose embeddings are L2-normalised."""

    @torch.inference_mode()
    def run(items: Sequence[Any]) -> Array:
        return normalised(
            np.concatenate([np.asarray(pooled(embed(list(part))).float()) for part in in_batches(list(items), _BATCH)])
        )

    return run


_EXACT = 1e-4
_ELSE = "Export it for onnx or openvino, which take heads as they are."


@dataclass(frozen=True)
class Affine:
    """Features (n, in) → features @ weight.T + bias, float64: `weight` (out, in), `bias` (out,)."""

    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, head: Head, *, adapter: bool) -> Affine:
        """Return a head as an affine map; that of an adapter holds up to the length of its output.

        Raises:
            UsageError: the head is no linear map.
        """
        parameters = {name: torch.from_numpy(values).double() for name, values in head.parameters.items()}
        if "mlp_in" in parameters:
            raise UsageError("A head with a hidden layer folds into no projection.", _ELSE)
        if "parts" in parameters:
            raise UsageError("A head of two parts folds into no projection.", _ELSE)
        weight, bias = parameters["weight"], parameters["bias"]
        if "mean" in parameters:
            weight = weight / parameters["std"]
            bias = bias - weight @ parameters["mean"]
        if not adapter:
            return cls(weight, bias)
        # e/|e| + W e/|e| + b has the direction of (1 + W) e where b is 0, and depends on |e| where it is not.
        if float(bias.abs().max()) > _EXACT * float(weight.abs().max()):
            raise UsageError(
                "An adapter with a bias folds into no projection: it depends on the embedding's length.", _ELSE
            )
        return cls(weight + torch.eye(len(weight), dtype=torch.float64), torch.zeros_like(bias))

    def after(self, first: Affine | None) -> Affine:
        """Return the composition of `first` and then this map."""
        if first is None:
            return self
        return Affine(self.weight @ first.weight, self.weight @ first.bias + self.bias)


@dataclass(frozen=True)
class ExportSide:
    """An image or a text side.

    Attributes:
        module: a library's own: the whole model of a spec, or the trunk of a tower that was trained here.
        spec: by which the model was opened; empty of a trunk.
        architecture: of a trunk, see `towers.Trunk`; empty of a model.
        map: what comes behind it, `None` for nothing.
    """

    module: Any
    spec: str
    architecture: Mapping[str, Any]
    map: Affine | None = None

    @property
    def kind(self) -> str:
        """Return the library: `open_clip`, `timm`, `hf`, or the kind of another spec or tower."""
        kind = str(self.architecture.get("kind")) if self.architecture else self.spec.partition(":")[0]
        return "hf" if kind == "mofi" else kind

    @property
    def rest(self) -> str:
        """Return the spec without its kind."""
        return self.spec.partition(":")[2]


def side_of(encoder: Encoder, name: str) -> ExportSide | None:
    """Return the side `image` or `text` of an encoder; `None` where it has none.

    Raises:
        UsageError: a head is no linear map, or the encoder runs no network of PyTorch.
        OpenMofiError: what it stands on cannot be opened.
    """
    if encoder.heads is not None:
        head = getattr(encoder.heads, name)
        below = None if head is None else side_of(encoder.heads.base, name)
        return below and _behind(below, head, adapter=encoder.heads.adapter)
    if encoder.spec.startswith("run:") and encoder.companions.folder is not None:
        return _trained(encoder, name)
    network = getattr(networks_of(encoder), name)
    return network and ExportSide(getattr(network, "model", network), encoder.spec, {})


def networks_of(encoder: Encoder) -> Networks:
    """Return an encoder's networks.

    Raises:
        UsageError: it runs none of PyTorch.
    """
    if encoder.networks is None:
        raise UsageError(
            f"The encoder {encoder.spec!r} has no networks of PyTorch, or stands on one that has none.",
            "Export the encoder that it was made of.",
        )
    return encoder.networks


def _trained(encoder: Encoder, name: str) -> ExportSide | None:
    folder = encoder.companions.folder
    assert folder is not None
    raw = read_description(folder, "run")
    if raw[name] is None:
        return None
    trunk, head = open_towers(folder, raw)[name]
    if trunk is None:
        below = side_of(open_encoder(str(raw[name]["encoder"]), device="cpu"), name)
    else:
        below = ExportSide(trunk.module, "", trunk.architecture)
    return below and (below if head is None else _behind(below, head, adapter=False))


def _behind(side: ExportSide, head: Head, *, adapter: bool) -> ExportSide:
    return replace(side, map=Affine.of(head, adapter=adapter).after(side.map))


def into_projection(projection: torch.Tensor, norm: nn.LayerNorm, side: Affine) -> torch.Tensor:
    """Fold a map into a projection without a bias; the bias goes into the normalisation before it, in place.

    Args:
        projection: (width, dim), behind `norm`.
        norm: of features of `width`.
        side: the map of the projection's output.

    Returns:
        The new projection, (width, out).

    Raises:
        UsageError: no shift of the normalised features has the effect of the map's bias.
    """
    folded = projection.double() @ side.weight.T
    shift = torch.linalg.pinv(folded.T) @ side.bias
    missing = float((shift @ folded - side.bias).norm())
    if norm.bias is None or missing > _EXACT * float(1 + side.bias.norm()):
        raise UsageError(
            "The bias of the head does not fold into the tower: its output has more dimensions than the "
            "tower's projection.",
            _ELSE,
        )
    with torch.no_grad():
        norm.bias.add_(shift.to(norm.bias))
    return folded.to(projection)


def into_linear(layer: nn.Linear, side: Affine) -> nn.Linear:
    """Fold a map into the linear layer before it."""
    bias = torch.zeros(layer.out_features, dtype=torch.float64) if layer.bias is None else layer.bias.double()
    return linear(Affine(side.weight @ layer.weight.double(), side.weight @ bias + side.bias))


def linear(side: Affine) -> nn.Linear:
    """Return the map as a linear layer."""
    layer = nn.Linear(side.weight.shape[1], side.weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(side.weight)
        layer.bias.copy_(side.bias)
    return layer
