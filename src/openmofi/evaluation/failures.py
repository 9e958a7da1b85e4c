"""The worst queries with what was found for them, as images on one page."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import jinja2

from openmofi import __version__
from openmofi.evaluation.protocol import Evaluated, protocol_named
from openmofi.storage import write_text


def write_failures(path: str | Path, evaluated: Evaluated) -> None:
    """Write the page. Names and keys are escaped, images are data URIs; the page asks the network for nothing."""
    cases = evaluated.failures
    places = [case.place for case in cases] + [place for case in cases for place, *_ in case.answers if place]
    pictures = evaluated.features.thumbnails(places) if evaluated.features else {}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    page = environment.from_string(files(__package__).joinpath("failures.html.j2").read_text("utf-8"))
    write_text(path, page.render(version=__version__, result=evaluated.result, cases=cases, pictures=pictures,
                                 score=protocol_named(evaluated.result.protocol).score))
