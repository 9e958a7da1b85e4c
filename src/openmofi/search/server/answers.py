"""Records as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi.responses import Response


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Records, which are dataclasses, as an answer; numbers that are not finite become null."""
    return Response(encoded(value), status, dict(headers or {}), "application/json")


def encoded(value: Any) -> bytes:
    """JSON as UTF-8; names of files that are not UTF-8 are shown as far as they can be."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
        return msgspec.json.encode(json.loads(text.encode("utf-8", "replace")))
