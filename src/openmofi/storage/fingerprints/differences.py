"""What differs between two mappings of settings, for people: every setting that differs; of long values a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WHOLE = 120
_CONTEXT = 20
_ENTRIES = 3


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """`name: old → new` for each setting that differs, nested ones by dotted names; of long values what differs."""
    before, after = _flat(old), _flat(new)
    return "; ".join(
        f"{key}: {_change(before.get(key), after.get(key))}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def _change(old: Any, new: Any) -> str:
    if len(repr(old)) <= _WHOLE and len(repr(new)) <= _WHOLE:
        return f"{old!r} → {new!r}"
    if isinstance(old, list) and isinstance(new, list):
        return _changed_entries(old, new)
    before, after = (value if isinstance(value, str) else repr(value) for value in (old, new))
    start, end = _common(before, after)
    return f"{_part(before, start, end)!r} → {_part(after, start, end)!r}"


def _changed_entries(old: list[Any], new: list[Any]) -> str:
    start, end = _common(old, new)
    before, after = old[start : len(old) - end], new[start : len(new) - end]
    if len(before) == len(after) <= _ENTRIES:
        return ", ".join(
            f"[{start + position}] {_entry(one, other)}"
            for position, (one, other) in enumerate(zip(before, after, strict=True))
            if one != other
        )
    listed = " → ".join(_cut(repr(part[0])) if part else "nothing" for part in (before, after))
    return (
        f"{len(old):,} → {len(new):,} entries; from [{start}] on {len(before):,} → {len(after):,} differ, "
        f"first {listed}"
    )


def _entry(old: Any, new: Any) -> str:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return f"({differences(old, new)})"
    return _change(old, new)


def _common(old: Sequence[Any], new: Sequence[Any]) -> tuple[int, int]:
    """How many values both begin with, and how many of the others both end with."""
    least = min(len(old), len(new))
    start = next((position for position in range(least) if old[position] != new[position]), least)
    rest = least - start
    end = next((count for count in range(rest) if old[-1 - count] != new[-1 - count]), rest)
    return start, end


def _part(text: str, start: int, end: int) -> str:
    """What differs of a long text, with a little of what is around it."""
    low, high = max(0, start - _CONTEXT), min(len(text), len(text) - end + _CONTEXT)
    return f"{'…' if low else ''}{_cut(text[low:high])}{'…' if high < len(text) else ''}"


def _cut(text: str) -> str:
    return text if len(text) <= _WHOLE else f"{text[: _WHOLE - 1]}…"
