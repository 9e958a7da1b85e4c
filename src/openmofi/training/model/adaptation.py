"""What of a tower is trained, and from which step on: freeze rules, and what is frozen first."""

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from openmofi.encoders.arrays import weights_fingerprint
from openmofi.errors import UsageError
from openmofi.training.model.towers import DualEncoder
from openmofi.training.recipe import ModelSettings


def freeze(tower: nn.Module, patterns: Sequence[str], setting: str) -> None:
    """Freeze the parameters of `tower` whose names match one of the patterns (fnmatch: `trunk.blocks.[0-5].*`).

    Args:
        tower: its parameters are named `trunk.…`, as the library names them, and `head.…`.
        patterns: see above.
        setting: where they are from, for the error.

    Raises:
        UsageError: a pattern matches no parameter.
    """
    for name in matching(dict(tower.named_parameters()), patterns, setting):
        tower.get_parameter(name).requires_grad_(False)


def matching(names: Collection[str], patterns: Sequence[str], setting: str) -> list[str]:
    """The names that match one of the patterns (fnmatch), in their order.

    Raises:
        UsageError: a pattern matches none of them; says `setting`.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(f"{setting}: {pattern!r} matches no parameter.", _hint(pattern, list(names)))
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _hint(pattern: str, names: list[str]) -> str:
    if any(fnmatchcase(name, f"trunk.{pattern}") for name in names):
        return f"Did you mean 'trunk.{pattern}'?"
    near = difflib.get_close_matches(re.sub(r"[*?\[\]]", "", pattern), names, n=3, cutoff=0.0)
    return f"The nearest names are {', '.join(near)}." if near else "The tower has none that this could be of."


@dataclass(frozen=True)
class FrozenFirst:
    """What of a tower is not trained in the first steps of a run.

    It has gradients in all steps, so that ranks exchange and optimisers hold the same in each; in the first ones they
    are dropped. A parameter without one is not moved, nor decayed, and its moments begin when it is first trained.

    Attributes:
        steps: how many.
        parameters: of the tower.
        norms: batch normalisations among them, which keep their statistics so long.
    """

    steps: int
    parameters: tuple[nn.Parameter, ...]
    norms: tuple[nn.Module, ...]

    def before(self, step: int) -> None:
        """Set the mode of `norms` for a step's forward pass."""
        for norm in self.norms:
            norm.train(step >= self.steps)

    def after(self, step: int) -> None:
        """Drop the gradients of a step."""
        for parameter in self.parameters if step < self.steps else ():
            parameter.grad = None


def frozen_first(model: DualEncoder, settings: ModelSettings) -> tuple[FrozenFirst, ...]:
    """What of each tower is frozen first, by `freeze_steps`.

    Args:
        model: as it is trained: spread over the ranks, if it is.
        settings: that it was built with.

    Raises:
        UsageError: a pattern of `freeze` matches no parameter that is trained.
    """
    found = []
    for name, side, tower in (("image", settings.image, model.image), ("text", settings.text, model.text)):
        if tower is not None and side.freeze_steps:
            parameters = {key: value for key, value in tower.named_parameters() if value.requires_grad}
            names = matching(parameters, side.freeze or ("trunk.*",), f"model.{name}.freeze")
            held = {id(parameters[key]): parameters[key] for key in names}
            norms = [each for each in tower.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
            kept = [each for each in norms if any(id(value) in held for value in each.parameters(recurse=False))]
            found.append(FrozenFirst(side.freeze_steps, tuple(held.values()), tuple(kept)))
    return tuple(found)


def frozen_names(model: nn.Module) -> set[str]:
    """Names of the trunks' parameters that are never trained: building the model again gives them again."""
    return {name for name, value in model.named_parameters() if ".trunk." in name and not value.requires_grad}


def frozen_print(model: nn.Module) -> dict[str, Tensor]:
    """`frozen` → a number, int64, that another value of what `frozen_names` names would change; else nothing."""
    frozen, state = frozen_names(model), model.state_dict()
    number = int(weights_fingerprint({name: state[name] for name in frozen})[:15], 16)
    return {"frozen": torch.tensor(number)} if frozen else {}


def start_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copies of what training changes of towers, batch statistics among it, for a share of them in the trained ones.

    Of an adapter B A only B, which is zero: a share of it is one of the plain weights that are written.
    """
    named = [*model.named_parameters(), *model.named_buffers()]
    changes = {name for name, value in named if value.requires_grad or ".running_" in name}
    return {name: value.detach().clone() for name, value in named if name in changes and not name.endswith(".0.a")}
