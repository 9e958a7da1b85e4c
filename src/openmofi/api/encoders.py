"""`openmofi.load_encoder`, `openmofi.train` and `openmofi.evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmofi.api.given import Folder, check_placement, encoder_of, place_of, public
from openmofi.config import Settings, changed
from openmofi.errors import UsageError
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.encoders import Encoder, EncoderLike
    from openmofi.engine import Progress
    from openmofi.evaluation.result import Result
    from openmofi.knowledge import KnowledgeBase
    from openmofi.training.recipe import Recipe
    from openmofi.training.run import Run


@public()
def load_encoder(spec: str, *, device: str = "auto", precision: str = "fp32") -> Encoder:
    """Open an image–text encoder with its preprocessing and tokenizer.

    Args:
        spec: `open_clip:ARCH/PRETRAINED`, `hf:PATH-OR-ID`, `mofi:PATH-OR-ID`, `timm:NAME`, `run:PATH` (trained here),
            `onnx:PATH`, `openvino:PATH`; see docs/encoders.md.

    Raises:
        UsageError: an unknown kind of encoder, device or precision.
        OpenMofiError: the encoder is missing, damaged, or cannot be fetched.
    """
    from openmofi.encoders import open_encoder

    return open_encoder(spec, device=device, precision=precision)


@public()
def evaluate(
    protocol: str,
    *,
    data: Folder,
    encoder: EncoderLike | None = None,
    linker: str = "",
    out: Folder | None = None,
    cache: Folder | None = None,
    settings: Settings | None = None,
    features: str = "auto",
    half: bool = False,
    failures: int = 20,
    bands: Folder | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: bool | Progress | None = None,
    **changes: Any,
) -> Result:
    """Evaluate an encoder or a linker by a published protocol; its settings are changed by keyword, as `k=(10, 20)`.

    Args:
        protocol: `gpr1200`, `retrieval`, `knn`, `linear`, `zeroshot` …; `openmofi eval --list` shows them.
        data: the data, in the protocol's layout.
        linker: of protocols that judge linkers: `prior`, `fusion:PATH`, `coherence:KB`; of linking: `prior`,
            `coherence`, `fusion:PATH`.
        out: folder that gets the result as JSON, its items as Parquet, its worst queries as a page.
        cache: folder that keeps features for all protocols; ~/.cache/openmofi where not given.
        settings: the protocol's, all at once; keywords change single ones.
        features: `joint`, `backbone`, or `auto`: joint where there is one.
        half: keep features as float16.
        failures: worst queries on the page beside the result.
        bands: a label dataset; metrics are also given by how many images of a class it has.
        device: of the encoder or linker: `cpu`, `cuda`, `cuda:1` …; `auto` is the fastest that is there.

    Raises:
        UsageError: no such protocol or setting, or an encoder or linker that it cannot judge.
        OpenMofiError: data that are not in the protocol's layout.
    """
    from openmofi.evaluation.run import check_judged, evaluate, protocol_named, write
    from openmofi.storage import make_folder
    from openmofi.storage.copies import cache_folder

    rules = protocol_named(protocol)
    check_judged(rules, encoder=bool(encoder), linker=bool(linker))
    check_placement(device, precision)
    chosen = changed(settings or rules.settings(), changes)
    for folder in (out, cache):
        if folder:
            make_folder(folder)
    with shown_progress(progress) as console:
        evaluated = evaluate(
            protocol,
            encoder_of(encoder, device, precision) if encoder else None,
            data,
            cache or cache_folder() / "evaluation",
            console,
            settings=chosen,
            linker=linker,
            device=device,
            choice=features,
            half=half,
            failures=failures if out else 0,
            bands=bands or "",
        )
    if out:
        write(out, evaluated)
    return evaluated.result


@public()
def train(
    recipe: str | Path | Recipe,
    *,
    out: Folder,
    dataset: Dataset | Folder | None = None,
    labels: Labels | Folder | None = None,
    encoder: str = "",
    kb: KnowledgeBase | Folder | None = None,
    resume: bool = False,
    restart: bool = False,
    progress: bool | Progress | None = None,
    **changes: Any,
) -> Run:
    """Train an image encoder on a labelled dataset, as a recipe says.

    Settings of the recipe are changed by keyword: a section, as `optimizer={"lr": 3e-4}`; a setting that has its name
    alone, as `steps=500`; or its path, as `**{"optimizer.lr": 3e-4}`.

    Args:
        recipe: a packaged recipe by name (`openmofi train --list` shows them), or a YAML file. In Python also a
            `Recipe`.
        out: folder of the run; the encoder opens as `run:OUT/encoder`.
        dataset: folder that `openmofi dataset build` wrote. In Python also what `build_dataset` returned.
        labels: folder that `openmofi label` (or `dataset build`) wrote, in place of `dataset`; the dataset is built in
            the run's folder. In Python also what `label` returned.
        encoder: frozen encoder on whose features heads are trained; for the recipe entity_head.
        kb: knowledge base, for the names of entities.
        resume: go on from the latest checkpoint of the run; start where there is none.

    Raises:
        UsageError: an unknown recipe or setting, or settings that contradict each other.
        OpenMofiError: the data are not there; the run was stopped and `resume` is not set.
    """
    from openmofi.progress import shown_training
    from openmofi.training.recipe.rules import load_recipe, require_data

    if labels is not None and dataset is not None:
        raise UsageError("labels and a dataset are given.", "Give one of them.")
    given = {"data.dataset": labels if dataset is None else dataset, "data.kb": kb}
    folders = {key: str(place_of(value)) for key, value in given.items() if value is not None}
    heads: Sequence[str] = ()
    if encoder:
        from openmofi.training.recipe.rules import over_encoder

        heads = over_encoder(load_recipe(recipe, changes=changes), encoder)
    loaded = load_recipe(recipe, heads, changes | folders)
    require_data(loaded)
    from openmofi.training.run import Run, train

    with shown_training(progress) as (watcher, console):
        summary = train(
            loaded, out, resume=resume, watcher=watcher, progress=console, restart=restart, labels=labels is not None
        )
    return Run(Path(out), summary)
