"""`openmofi link`: examples of disambiguation, and linkers trained on them."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.cli import recipes
from openmofi.cli.command import Restart, command, group, output_path, print_json
from openmofi.errors import UsageError

app = group("link", "Train linkers: which entity a mention means.")


@command(app, "examples")
def examples(
    source: Annotated[str, typer.Argument(help="wordnet, zelda or conll.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            help="wordnet: its dict folder. zelda: jsonl files. conll: CoNLL files in AIDA's or ZELDA's columns."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", parser=output_path, metavar="FILE", help="Parquet table of examples.")
    ],
    parts: Annotated[str, typer.Option(help="wordnet: parts of speech, letters of nvar.")] = "nvar",
    candidates: Annotated[
        Path | None,
        typer.Option(help="zelda, conll: candidate lists, mention → {title: count}, as JSON or as ZELDA's pickle."),
    ] = None,
    descriptions: Annotated[Path | None, typer.Option(help="zelda, conll: entity_descriptions.jsonl.")] = None,
    split: Annotated[str, typer.Option(help="zelda, conll: the examples' split; the file's name by default.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Turn a corpus with known answers into a table of examples, which linkers are trained and judged on."""
    from openmofi.plugins.fusion.examples import write_examples

    if source == "wordnet":
        from openmofi.plugins.fusion.examples import wordnet_examples

        if len(files) != 1:
            raise UsageError("WordNet is one folder.", "Give its dict folder alone.")
        corpus = wordnet_examples(files[0], parts=parts)
    elif source in ("zelda", "conll"):
        corpus = _annotated(source, files, candidates, descriptions, split)
    else:
        raise UsageError(f"Unknown source {source!r}.", "Use wordnet, zelda or conll.")
    write_examples(out, corpus)
    counts = Counter(example.split for example in corpus)
    if as_json:
        print_json(
            {"examples": len(corpus), "splits": counts, "reachable": sum(example.reachable for example in corpus)}
        )
        return
    splits = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    typer.echo(f"{len(corpus):,} examples in {out}: {splits}")


@command(app, "train")
def train(
    recipe: recipes.RecipeName = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", parser=output_path, metavar="RUN", help="Folder of the run; the linker is fusion:RUN/linker."
        ),
    ] = None,
    settings: recipes.Set = None,
    table: Annotated[
        Path | None,
        typer.Option("--examples", metavar="FILE", help="Table of examples; short for --set data.examples=FILE."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="LABELS",
            help="Folder of labels, whose surest senses are the examples instead; short for --set data.labels=LABELS.",
        ),
    ] = None,
    kb: Annotated[
        Path | None,
        typer.Option(
            "--kb", metavar="KB", help="The labels' knowledge base, if it has moved; short for --set data.kb=KB."
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start",
            metavar="LINKER",
            help="RUN/linker of another run, whose weights training begins with; short for --set start=LINKER.",
        ),
    ] = None,
    resume: recipes.Resume = False,
    restart: Restart = False,
    show: recipes.Show = False,
    list_recipes: recipes.ListRecipes = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final figures as JSON.")] = False,
) -> None:
    """Train a linker, as a recipe says. Ctrl-C writes a checkpoint; the same command with --resume goes on."""
    from openmofi.plugins.fusion.fusion_settings import LINK_RECIPES, load_link_recipe

    overrides = recipes.changes(
        settings, {"data.examples": table, "data.labels": labels, "data.kb": kb, "start": start}
    )
    name = recipes.recipe_to_train(
        recipe, overrides, LINK_RECIPES, load_link_recipe, show=show, list_recipes=list_recipes, as_json=as_json
    )
    recipes.check_start(resume=resume, restart=restart)
    loaded = load_link_recipe(name, overrides)
    folder = recipes.run_folder(out)
    from openmofi.plugins.fusion.training import LINKER, train_linker
    from openmofi.progress import shown_training

    with recipes.resumable(), shown_training(not as_json) as (watcher, _):
        counts = train_linker(loaded, folder, resume=resume, watcher=watcher, restart=restart)
    if as_json:
        print_json({"run": str(folder), **counts})
        return
    accuracy = counts["accuracy"]
    right = "" if accuracy is None else f", {accuracy:.3f} right on {loaded.stopping.split}"
    typer.echo(
        f"{counts['steps']:,} steps{right}, temperature {counts['temperature']:.2f}, "
        f"weight of the prior {counts['prior_weight']:.2f}\n"
        f"linker: fusion:{folder / LINKER}"
    )


def _annotated(
    source: str, files: list[Path], candidates: Path | None, descriptions: Path | None, split: str
) -> list[Any]:
    from openmofi.plugins.fusion.zelda import (
        CandidateLists,
        conll_examples,
        read_candidate_counts,
        read_descriptions,
        zelda_examples,
    )

    if candidates is None:
        raise UsageError(
            f"{source} needs candidate lists.",
            "Add --candidates FILE: ZELDA's other/zelda_mention_entities_counter.pickle, or JSON.",
        )
    lists = CandidateLists(read_candidate_counts(candidates))
    glosses = read_descriptions(descriptions) if descriptions else None
    read = zelda_examples if source == "zelda" else conll_examples
    return [example for file in files for example in read(file, lists, glosses, split=split or file.stem)]
