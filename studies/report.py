"""What the studies show: tables on a page and on a terminal, and figures as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from openmofi.cli.tables import print_table
from studies.world.figures import html_table

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>body {{ font:15px/1.5 system-ui,sans-serif; color:#1f2933; max-width:900px; margin:32px auto; padding:0 24px; }}
table {{ border-collapse:collapse; width:100%; }} th {{ text-align:left; color:#5d6b7a; font-size:13px; }}
td, th {{ border-bottom:1px solid #e4e8ee; padding:6px 10px 6px 0; }} .r {{ text-align:right; }}
svg {{ max-width:100%; height:auto; }} p {{ color:#5d6b7a; }}</style></head><body>
<h1>{heading}</h1>
{body}
</body></html>
"""


@dataclass(frozen=True)
class Table:
    """A table of figures.

    Attributes:
        head: names of the columns.
        rows: cells as text.
        numbers: columns that are set to the right; `None`: all but the first.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] | None = None

    def html(self) -> Markup:
        """For a page."""
        return html_table(self.head, self.rows, range(1, len(self.head)) if self.numbers is None else self.numbers)

    def print(self, title: str) -> None:
        """On the terminal."""
        print_table(self.head, self.rows, title=title, numbers=self.numbers)


def study_page(title: str, heading: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """A study's report as HTML: a page that asks the network for nothing; equal sections give equal bytes.

    Args:
        title: of the page.
        heading: at its top.
        sections: title, body (HTML) and text of each, in order.
    """
    body = Markup("\n").join(
        Markup("<h2>{}</h2>\n<p>{}</p>\n{}").format(name, text, Markup(content)) for name, content, text in sections
    )
    return str(Markup(_PAGE).format(title=title, heading=heading, body=body))


def print_end(out: object, metrics: Mapping[str, Any]) -> None:
    """Print the seconds of all steps, and where the report is."""
    print(f"{metrics['seconds']['total']:.0f} s in all; report: {out}/report.html")


def encoder_table(encoders: Mapping[str, Mapping[str, Any]]) -> Table:
    """Retrieval and zero-shot classification: shown name → figures, as `studies.comparison.RetrievalValues.figures`."""
    rows = [
        (
            name,
            number(figures["map_excl_query"]),
            interval(figures["map_excl_query_interval"]),
            number(figures["map_incl_query"]),
            number(figures["zero_shot"]),
            interval(figures["zero_shot_interval"]),
        )
        for name, figures in encoders.items()
    ]
    return Table(("encoder", "mAP, query excluded", "95 %", "mAP, query included", "zero-shot", "95 %"), rows)


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def signed(value: float, relative: bool = False) -> str:
    """A difference; as a percentage where it is relative."""
    return f"{value:+.1%}" if relative else f"{value:+.3f}"


def interval(edges: Sequence[float] | None) -> str:
    """Both ends of an interval, or nothing."""
    return "" if edges is None else f"{edges[0]:.3f}–{edges[1]:.3f}"


def verdict(met: bool) -> str:
    """Whether a goal is met."""
    return "met" if met else "missed"
