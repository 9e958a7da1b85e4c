"""`openmofi link rerank`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmofi.cli.command import input_place, output_path, print_json
from openmofi.cli.options import Json
from openmofi.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openmofi.plugins.fusion.examples import LinkExample
    from openmofi.plugins.reranker.scorer import Reranker


def rerank(
    pairs: Annotated[list[str], typer.Argument(help="Pairs whose texts are like those to be linked, as for `label`.")],
    kb: Annotated[str, typer.Option("--kb", parser=input_place, metavar="KB", help="Folder of the knowledge base.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", parser=output_path, help="Folder for the reranker, which is reranker:OUT."),
    ] = None,
    reranker: Annotated[
        str, typer.Option("--with", metavar="URL", help="http://… or st:…: fit its mix with the prior instead.")
    ] = "",
    detector: Annotated[str, typer.Option(help="Finds the mentions, as for `label`.")] = "gazetteer",
    as_json: Json = False,
) -> None:
    """Train a reranker on mentions of known meaning, or fit how a server's or model's scores mix with the prior."""
    if bool(out) == bool(reranker):
        raise UsageError("A reranker is trained (--out) or another's mix is fitted (--with).", "Give one of both.")
    from openmofi.knowledge import KnowledgeBase
    from openmofi.mentions import open_detector
    from openmofi.plugins.reranker.examples import HELD_OUT, sure_examples
    from openmofi.plugins.reranker.scorer import accuracy

    base = KnowledgeBase.open(kb)
    examples = sure_examples(_texts(pairs), base, open_detector(detector, base))
    held_out = [example for example in examples if example.split == HELD_OUT]
    if out:
        from openmofi.plugins.reranker.linker import save_reranker
        from openmofi.plugins.reranker.minilm import train
        from openmofi.progress import shown_progress

        with shown_progress(not as_json) as progress:
            made, weights = train(examples, progress)
        save_reranker(out, made, weights)
        spec = f"reranker:{out}"
    else:
        made, spec = _fitted(reranker, examples)
    facts = {
        "linker": spec,
        "examples": len(examples),
        "held_out": len(held_out),
        "accuracy": (reached := accuracy(made, held_out)),
        "prior_accuracy": (prior := sum(each.candidates[0].id == each.gold for each in held_out) / len(held_out)),
        "temperature": made.temperature,
        "prior_weight": made.prior_weight,
    }
    if as_json:
        print_json(facts)
        return
    typer.echo(
        f"{facts['examples']:,} mentions of known meaning; of {facts['held_out']:,} whose entities were held out "
        f"{reached:.3f} are right (the prior: {prior:.3f})\nlinker: {spec}"
    )
    if reached <= prior:
        typer.echo("It is no better than the prior on these. Train it on more texts, or link by coherence.", err=True)


def _fitted(argument: str, examples: list[LinkExample]) -> tuple[Reranker, str]:
    from openmofi.plugins.reranker.linker import open_reranker
    from openmofi.plugins.reranker.scorer import fitted

    made = fitted(open_reranker(argument).scorer, examples)
    mark = "&" if "?" in argument else "?"
    mix = f"temperature={made.temperature:g}&prior_weight={made.prior_weight:g}"
    return made, f"reranker:{argument}{mark}{mix}"


def _texts(pairs: list[str]) -> Iterator[str]:
    from openmofi.pairs import read_pairs
    from openmofi.storage import expand_shards

    return (pair.text for shard in expand_shards(pairs) for pair in read_pairs(shard, paths_only=True, texts=True))
