"""Types that several routes use."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query

from openmofi.search.server.context import Context, context_of

Shared = Annotated[Context, Depends(context_of)]
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
ImageId = Number
EntityId = Annotated[str, Path(min_length=1, max_length=512)]
Short = Annotated[str, Query(max_length=512)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Few = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]
