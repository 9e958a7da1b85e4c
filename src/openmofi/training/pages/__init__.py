"""Pages about a run, as one HTML file each that loads nothing."""

from __future__ import annotations

from typing import Any

import jinja2


def render(page: str, **values: Any) -> str:
    """A page by the name of its template; the filter `number` writes three decimals, and – for `None`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("openmofi.training", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: "–" if value is None else f"{value:.3f}"
    return environment.get_template(f"{page}.html.j2").render(**values)
