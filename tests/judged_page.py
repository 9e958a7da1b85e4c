"""A page of `openmofi label audit` judged without a browser: what its script would save."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.S)


def page_data(page: Path) -> dict[str, Any]:
    return json.loads(_DATA.search(page.read_text(encoding="utf-8"))[1])


def judged(page: Path, out: Path, say: Callable[[dict[str, Any]], str]) -> Path:
    """Write the file of verdicts; `say` gives an item's `y`, `n` or `u`, or nothing."""
    data = page_data(page)
    kept = ("shard", "key", "entity", "probability", "stratum")
    verdicts = [
        {**{name: item[name] for name in kept}, "verdict": verdict} for item in data["items"] if (verdict := say(item))
    ]
    out.write_text(json.dumps({**data["file"], "verdicts": verdicts}))
    return out
