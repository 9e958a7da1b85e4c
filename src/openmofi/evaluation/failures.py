"""A page of the worst queries and the answers that they got, as images."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import jinja2

from openmofi.evaluation.result import write_result
from openmofi.evaluation.run import Evaluated, protocol_named
from openmofi.storage import write_text, written_together
from openmofi.version import __version__


def write_failures(path: str | Path, evaluated: Evaluated) -> None:
    """Write the page. Names and keys are escaped, images are data URIs; the page loads nothing from the network."""
    cases = evaluated.failures
    ids = [case.image for case in cases] + [answer.image for case in cases for answer in case.answers if answer.image]
    images = evaluated.features.thumbnails(ids) if evaluated.features else {}
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(files(__package__).joinpath("failures.html.j2").read_text("utf-8"))
    write_text(
        path,
        page.render(
            version=__version__,
            result=evaluated.result,
            cases=cases,
            images=images,
            score=protocol_named(evaluated.result.protocol).score,
        ),
    )


def write(out: str | Path, evaluated: Evaluated) -> Path:
    """Write a result, its items, and the page of its worst queries where it has any. Returns the JSON's path."""
    with written_together(out):
        path = write_result(out, evaluated.result, evaluated.items)
        if evaluated.failures:
            write_failures(path.with_suffix(".html"), evaluated)
    return path
