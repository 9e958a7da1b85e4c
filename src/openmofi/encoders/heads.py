"""Projection heads: what is trained on frozen features. One function is both the training and the serving path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from openmofi.arrays import Array
from openmofi.encoders.arrays import normalised, numpy_of
from openmofi.encoders.devices import on_device
from openmofi.errors import OpenMofiError

if TYPE_CHECKING:
    import torch

_REQUIRED = ("weight", "bias")
_PARTS = ("parts", "gate", "gate_bias")
_TOGETHER = (("mean", "std"), ("mlp_in", "mlp_in_bias", "mlp_out", "mlp_out_bias"), _PARTS)


@dataclass(frozen=True)
class Head:
    """The parameters of one head, float32.

    Attributes:
        parameters: `weight` (dim, features), `bias` (dim,); optional `mean`, `std` (features,), with which features
            are standardised first; optional `mlp_in` (hidden, dim), `mlp_in_bias`, `mlp_out` (dim, hidden),
            `mlp_out_bias`: a residual GELU layer after the linear one; optional `parts` (1,), `gate`
            (features,), `gate_bias` (1,): how many of the outputs are the first of two parts, and a linear map of the
            features to the log odds that it speaks for them. Each part is then of unit length, times √g and √(1 − g),
            where g is the sigmoid of the log odds: for what the first part was not trained on, the other one speaks.
    """

    parameters: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.parameters)

    @property
    def in_dim(self) -> int:
        """Number of features that it takes."""
        return int(self.parameters["weight"].shape[1])

    @property
    def dim(self) -> int:
        """Dimension of its output."""
        return int(self.parameters["weight"].shape[0])

    @property
    def kind(self) -> str:
        """`mlp`, `parts` or `linear`, by what follows the linear layer."""
        return next(
            (kind for name, kind in (("mlp_in", "mlp"), ("parts", "parts")) if name in self.parameters), "linear"
        )

    @classmethod
    def initial(
        cls,
        in_dim: int,
        dim: int,
        *,
        seed: int,
        hidden: int = 0,
        mean: Array | None = None,
        std: Array | None = None,
        zero: bool = False,
    ) -> Head:
        """A head before training: seeded normal weights of variance 1/in, the residual layer's output zero.

        With `zero` the linear layer is zero as well, which makes an adapter that changes nothing yet.
        """
        draw = np.random.default_rng(seed)

        def normal(rows: int, columns: int) -> Array:
            return (draw.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

        made = {
            "weight": np.zeros((dim, in_dim), np.float32) if zero else normal(dim, in_dim),
            "bias": np.zeros(dim, np.float32),
        }
        if mean is not None and std is not None:
            made |= {"mean": np.asarray(mean, np.float32), "std": np.asarray(std, np.float32)}
        if hidden:
            made |= {
                "mlp_in": normal(hidden, dim),
                "mlp_in_bias": np.zeros(hidden, np.float32),
                "mlp_out": np.zeros((dim, hidden), np.float32),
                "mlp_out_bias": np.zeros(dim, np.float32),
            }
        return cls(made)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Head:
        """The head whose parameters are `tensors`, after training."""
        return cls(
            {name: np.array(tensor.detach().float().cpu().numpy(), np.float32) for name, tensor in tensors.items()}
        )

    def tensors(self, device: str = "cpu") -> dict[str, torch.Tensor]:
        """Copies of the parameters as tensors, for `apply_head`; `trainable` names those to train."""
        import torch

        return {name: torch.tensor(values, device=device) for name, values in self.parameters.items()}

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that are trained: all but `mean`, `std`, `parts` and its gate."""
        fixed = ("mean", "std", *_PARTS)
        return tuple(name for name in self.parameters if name not in fixed)


def apply_head(parameters: Mapping[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """(n, features) → (n, dim), not normalised; differentiable."""
    import torch
    from torch.nn.functional import gelu, linear, normalize

    if "mean" in parameters:
        features = (features - parameters["mean"]) / parameters["std"]
    out = linear(features, parameters["weight"], parameters["bias"])
    if "mlp_in" in parameters:
        inner = gelu(linear(out, parameters["mlp_in"], parameters["mlp_in_bias"]))
        out = out + linear(inner, parameters["mlp_out"], parameters["mlp_out_bias"])
    if "parts" in parameters:
        is_first = (torch.arange(out.shape[1], device=out.device) < parameters["parts"]).to(out.dtype)
        first, second = out * is_first, out * (1 - is_first)
        share = torch.sigmoid(features @ parameters["gate"] + parameters["gate_bias"])[:, None]
        out = share.sqrt() * normalize(first) + (1 - share).sqrt() * normalize(second)
    return out


def _apply_without_torch(parameters: Mapping[str, Array], features: Array) -> Array:
    """`apply_head` where PyTorch is not installed, for heads on exported graphs; the last digits may differ."""
    if "mean" in parameters:
        features = (features - parameters["mean"]) / parameters["std"]
    out = features @ parameters["weight"].T + parameters["bias"]
    if "mlp_in" in parameters:
        from scipy.special import ndtr

        inner = out @ parameters["mlp_in"].T + parameters["mlp_in_bias"]
        out = out + (inner * ndtr(inner)) @ parameters["mlp_out"].T + parameters["mlp_out_bias"]
    if "parts" in parameters:
        from scipy.special import expit

        first, second = np.split(out, [int(parameters["parts"][0])], axis=1)
        share = expit(features @ parameters["gate"] + parameters["gate_bias"])[:, None]
        out = np.concatenate([np.sqrt(share) * normalised(first), np.sqrt(1 - share) * normalised(second)], axis=1)
    return np.asarray(out, np.float32)


def head_on_arrays(head: Head | None, device: str = "cpu") -> Callable[[Array], Array]:
    """`apply_head` as a function of features (n, features) → float32 (n, dim); without a head they stay as they are."""
    if head is None:
        return lambda features: features
    if find_spec("torch") is None:
        return lambda features: _apply_without_torch(head.parameters, np.asarray(features, np.float32))
    parameters = head.tensors(device)

    def apply(features: Array) -> Array:
        import torch

        # A copy: features may be read-only memory of a file, which tensors cannot be made over.
        with torch.inference_mode():
            return numpy_of(apply_head(parameters, on_device(np.array(features, np.float32), device)))

    return apply


def _check(parameters: Mapping[str, Array]) -> None:
    unknown = sorted(set(parameters) - {*_REQUIRED, *chain(*_TOGETHER)})
    missing = [name for name in _REQUIRED if name not in parameters]
    if unknown or missing:
        raise OpenMofiError(
            f"A projection head has no {missing or unknown} as it should."
            if missing
            else f"A projection head has unknown parameters: {unknown}."
        )
    for group in _TOGETHER:
        if len(present := [name for name in group if name in parameters]) not in (0, len(group)):
            raise OpenMofiError(f"A projection head has {present} alone; {list(group)} belong together.")
    dim, features = parameters["weight"].shape
    hidden = len(parameters["mlp_in_bias"]) if "mlp_in_bias" in parameters else 0
    shapes = {
        "weight": (dim, features),
        "bias": (dim,),
        "mean": (features,),
        "std": (features,),
        "mlp_in": (hidden, dim),
        "mlp_in_bias": (hidden,),
        "mlp_out": (dim, hidden),
        "mlp_out_bias": (dim,),
        "parts": (1,),
        "gate": (features,),
        "gate_bias": (1,),
    }
    for name, values in parameters.items():
        if values.shape != shapes[name]:
            raise OpenMofiError(f"The projection head's {name!r} has shape {values.shape}, not {shapes[name]}.")
        if not np.isfinite(values).all():
            raise OpenMofiError(f"The projection head's {name!r} holds values that are not finite.")
    if "parts" in parameters and not ((rows := float(parameters["parts"][0])).is_integer() and 0 < rows < dim):
        raise OpenMofiError(f"The projection head's first part has {rows:g} of {dim} outputs.")
