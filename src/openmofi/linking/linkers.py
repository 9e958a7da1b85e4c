"""Opens linkers by name: those of the core, and those that installed packages add."""

from collections.abc import Callable
from dataclasses import dataclass

from openmofi.errors import UsageError
from openmofi.extensions import extension, extension_names
from openmofi.knowledge import KnowledgeBase
from openmofi.linking.candidates import PriorLinker
from openmofi.linking.coherence import CoherenceLinker
from openmofi.linking.protocol import Linker

_GROUP = "linkers"
_CORE: dict[str, Callable[[KnowledgeBase], Linker]] = {"prior": PriorLinker, "coherence": CoherenceLinker}


@dataclass(frozen=True)
class LinkerKind:
    """A linker that a package adds as an entry point of `openmofi.linkers`; its spec is `NAME:ARGUMENT`.

    Attributes:
        argument: what stands behind the colon, for people, such as PATH.
        open: opens the linker for a knowledge base, given the argument.
        fingerprint: identifies the linker's content, given the argument; equal content, equal links.
    """

    argument: str
    open: Callable[[KnowledgeBase, str], Linker]
    fingerprint: Callable[[str], str]


def linker_forms() -> list[str]:
    """Return the specs of all linkers, as in `fusion:PATH`."""
    return [*_CORE, *(f"{name}:{extension(_GROUP, name).argument}" for name in extension_names(_GROUP))]


def open_linker(spec: str, kb: KnowledgeBase) -> Linker:
    """Open a linker with default settings.

    Raises:
        UsageError: the name is unknown.
        OpenMofiError: its argument names nothing that can be opened.
    """
    check_linker(spec)
    if spec in _CORE:
        return _CORE[spec](kb)
    name, _, argument = spec.partition(":")
    return extension(_GROUP, name).open(kb, argument)


def check_linker(spec: str) -> None:
    """Check the spec of a linker without opening it.

    Raises:
        UsageError: the name is unknown.
    """
    name, _, argument = spec.partition(":")
    if spec not in _CORE and not (argument and name in extension_names(_GROUP)):
        *others, last = linker_forms()
        raise UsageError(f"unknown value {spec!r} for linker; use {', '.join(others)} or {last}.")


def linker_fingerprint(spec: str) -> str:
    """Identify a linker by its name, and one that a package adds by its content instead of its path.

    Raises:
        UsageError: the name is unknown.
        OpenMofiError: its argument names nothing that can be opened.
    """
    check_linker(spec)
    if spec in _CORE:
        return spec
    name, _, argument = spec.partition(":")
    return f"{name}:{extension(_GROUP, name).fingerprint(argument)}"
