"""MobileCLIP's text tower to train: `mobile:mct`, `mobile:mct-tiny`, with sizes as `mobile:mct?layers=2&width=256`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import open_clip

from openmofi.encoders.libraries.mobile import MobileText, MobileTextSettings
from openmofi.encoders.tokens import OpenClipTokens
from openmofi.encoders.towers import Trunk
from openmofi.errors import UsageError
from openmofi.quiet import quiet_logging

PRESETS = {
    "mct": MobileTextSettings(),
    # For tests and the sample world: nearly all of its 3.4 M parameters are the vocabulary's.
    "mct-tiny": MobileTextSettings(width=64, heads=2, layers=1, kernel=5, context=32),
}
_OPTIONS = tuple(field.name for field in fields(MobileTextSettings) if field.name != "vocabulary")


def text(rest: str, pretrained: str) -> Trunk:
    """See `towers.text_trunk`; random weights only, since Apple's may not be used beyond research."""
    if pretrained:
        raise UsageError(f"mobile:{rest} has no weights {pretrained!r}.", "Leave model.text.pretrained empty.")
    name, settings = _settings(rest)
    return rebuilt({"kind": "mobile", "name": name, "config": asdict(settings)})


def tokens(rest: str) -> OpenClipTokens:
    """See `towers.text_tokens`; CLIP's, by open_clip."""
    return _tokens(_settings(rest)[1].context)


def rebuilt(architecture: Mapping[str, Any]) -> Trunk:
    """See `towers.rebuilt`."""
    settings = MobileTextSettings(**architecture["config"])
    return Trunk(MobileText(settings), settings.width, architecture)


def stored_tokens(architecture: Mapping[str, Any], _folder: Path) -> OpenClipTokens:
    """See `towers.stored_tokens`; the vocabulary is open_clip's own file."""
    return _tokens(int(architecture["config"]["context"]))


def _tokens(context: int) -> OpenClipTokens:
    with quiet_logging():
        return OpenClipTokens(open_clip.SimpleTokenizer(context_length=context), False)


def _settings(rest: str) -> tuple[str, MobileTextSettings]:
    name, mark, text = rest.partition("?")
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"There is no text tower mobile:{name}.{guess}", f"There are: {', '.join(PRESETS)}.")
    pairs = [part.partition("=") for part in text.split("&")] if mark else []
    wrong = next((f"{key}={value}" for key, _, value in pairs if key not in _OPTIONS or not value.isdecimal()), None)
    if wrong is not None:
        raise UsageError(f"The option {wrong!r} of 'mobile:{rest}' is unknown.",
                         f"There are whole numbers for {', '.join(_OPTIONS)}.")
    try:
        return name, replace(PRESETS[name], **{key: int(value) for key, _, value in pairs})
    except ValueError as error:
        raise UsageError(f"'mobile:{rest}' cannot be built: {error}.", "Change its sizes.") from error
