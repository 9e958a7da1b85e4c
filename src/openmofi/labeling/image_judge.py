"""The interface of a judge beyond the encoder, which a package adds as an entry point of `openmofi.judges`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from openmofi.errors import UsageError
from openmofi.extensions import extension, extension_names

_GROUP = "judges"


class ImageJudge(Protocol):
    """Answers questions about images; several threads ask at once.

    Attributes:
        model: names what answers: by it answers are kept.
    """

    model: str

    def ask(self, image: bytes, question: str, choices: Sequence[str]) -> str:
        """Return one of `choices`, or "" where the answer is none of them; `image` is a JPEG.

        Raises:
            OpenMofiError: there is no answer.
        """


def open_judge(address: str, model: str) -> ImageJudge:
    """Open the judge at an address by its scheme, such as `http`.

    Args:
        address: see `JudgeSettings`.
        model: asks for this one, or "".

    Raises:
        UsageError: no package answers for the scheme.
        OpenMofiError: nobody answers there.
    """
    opened = extension(_GROUP, address.partition("://")[0])
    if opened is None:
        raise UsageError(
            f"The judge {address} has no address that can be asked.",
            f"Give one that begins with {' or '.join(f'{name}://' for name in extension_names(_GROUP))}.",
        )
    return opened(address, model)
