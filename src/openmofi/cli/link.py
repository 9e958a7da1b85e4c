"""`openmofi link`: examples of disambiguation, and linkers trained on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.errors import UsageError

app = typer.Typer(no_args_is_help=True)


@app.command("examples")
def examples(
    source: Annotated[str, typer.Argument(help="wordnet, zelda or conll.")],
    files: Annotated[list[Path], typer.Argument(
        help="wordnet: its dict folder. zelda: jsonl files. conll: CoNLL files in AIDA's or ZELDA's columns.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Parquet table of examples.")],
    parts: Annotated[str, typer.Option(help="wordnet: parts of speech, letters of nvar.")] = "nvar",
    candidates: Annotated[Path | None, typer.Option(
        help="zelda, conll: candidate lists, mention → {title: count}, as JSON or as ZELDA's pickle.")] = None,
    descriptions: Annotated[Path | None, typer.Option(help="zelda, conll: entity_descriptions.jsonl.")] = None,
    split: Annotated[str, typer.Option(
        help="zelda, conll: the examples' split; the file's name by default.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Turn a corpus with known answers into a table of examples, which linkers are trained and judged on."""
    from openmofi.linking.corpora.examples import write_examples

    if source == "wordnet":
        from openmofi.linking.corpora.wordnet import wordnet_examples

        if len(files) != 1:
            raise UsageError("WordNet is one folder.", "Give its dict folder alone.")
        found = wordnet_examples(files[0], parts=parts)
    elif source in ("zelda", "conll"):
        found = _annotated(source, files, candidates, descriptions, split)
    else:
        raise UsageError(f"There is no source {source!r}.", "It can be wordnet, zelda or conll.")
    write_examples(out, found)
    counts: dict[str, int] = {}
    for example in found:
        counts[example.split] = counts.get(example.split, 0) + 1
    told = {"examples": len(found), "splits": counts, "reachable": sum(example.reachable for example in found)}
    typer.echo(json.dumps(told, indent=2) if as_json else
               f"{len(found):,} examples in {out}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))


@app.command("train")
def train(
    recipe: Annotated[str | None, typer.Argument(
        metavar="RECIPE", help="A packaged recipe by name (see --list), or a YAML file.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(
        "-o", "--out", metavar="RUN", help="Folder of the run; the linker is fusion:RUN/linker.")] = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of the recipe, as optimizer.lr=3e-4; may be repeated.",
    )] = None,
    table: Annotated[Path | None, typer.Option(
        "--examples", metavar="FILE", help="Table of examples; short for --set data.examples=FILE.")] = None,
    resume: Annotated[bool, typer.Option(
        "--resume", help="Go on from the latest checkpoint in RUN; start where there is none.")] = False,
    show: Annotated[bool, typer.Option(
        "--show", help="Print the recipe with every setting, and train nothing.")] = False,
    list_recipes: Annotated[bool, typer.Option("--list", help="List the packaged recipes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final figures as JSON.")] = False,
) -> None:
    """Train a linker, as a recipe says. Ctrl-C writes a checkpoint; the same command with --resume goes on."""
    from openmofi.cli.recipes import folder_of, named, path_setting, print_recipe
    from openmofi.training.linking.recipe import LINK_RECIPES, load_link_recipe

    if list_recipes:
        from openmofi.cli.show.tables import print_names
        from openmofi.config.recipes import recipe_names

        print_names(recipe_names(LINK_RECIPES), as_json)
        return
    loaded = load_link_recipe(named(recipe), [*(settings or ()), *path_setting("data.examples", table)])
    if show:
        print_recipe(loaded, as_json)
        return
    _train(loaded, folder_of(out), resume=resume, as_json=as_json)


def _train(recipe: Any, out: Path, *, resume: bool, as_json: bool) -> None:
    from openmofi.cli.recipes import resumable
    from openmofi.progress import shown_training
    from openmofi.training.linking.run import LINKER, train_linker

    with resumable(), shown_training(not as_json) as (watcher, _):
        found = train_linker(recipe, out, resume=resume, watcher=watcher)
    if as_json:
        typer.echo(json.dumps({"run": str(out), **found}, indent=2, ensure_ascii=False))
        return
    accuracy = found["accuracy"]
    told = "" if accuracy is None else f", {accuracy:.3f} right on {recipe.stopping.split}"
    typer.echo(f"{found['steps']:,} steps{told}, temperature {found['temperature']:.2f}\nlinker: fusion:{out / LINKER}")


def _annotated(source: str, files: list[Path], candidates: Path | None, descriptions: Path | None,
               split: str) -> list[Any]:
    from openmofi.evaluation.linkers.data import read_candidate_counts
    from openmofi.linking.corpora.zelda import CandidateLists, conll_examples, read_descriptions, zelda_examples

    if candidates is None:
        raise UsageError(f"{source} needs candidate lists.",
                         "Add --candidates FILE: ZELDA's other/zelda_mention_entities_counter.pickle, or JSON.")
    lists = CandidateLists(read_candidate_counts(candidates))
    told = read_descriptions(descriptions) if descriptions else None
    read = zelda_examples if source == "zelda" else conll_examples
    return [example for file in files for example in read(file, lists, told, split=split or file.stem)]
