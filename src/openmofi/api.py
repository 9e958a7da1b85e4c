"""The front door: what `import openmofi` gives, and what the command line calls.

Every function takes paths or opened objects, and raises `OpenMofiError` with a sentence and a hint. It opens what it
was given by name and calls the room that does the work. Those with `progress` draw it on a terminal and in a notebook:
`True` draws it anywhere, `False` nowhere, and an object with `openmofi.engine.Progress`'s methods is called instead.
Those with `restart` go on where an earlier call stopped; with it they remove what that call wrote, and begin anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from openmofi.errors import UsageError
from openmofi.given import Folder, Pairs, check_placement, encoder_of, kb_of, overrides_of, place_of, shards_of
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.dataset.audit.audit import Audit
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.encoders import Encoder, EncoderLike, ImageInput
    from openmofi.engine import Progress
    from openmofi.evaluation.result import Result
    from openmofi.knowledge import KnowledgeBase
    from openmofi.labeling.explain import Explanation


def load_encoder(spec: str, *, device: str = "auto", precision: str = "fp32") -> Encoder:
    """Open an image–text encoder with its preprocessing and tokenizer.

    Args:
        spec: `open_clip:ARCH/PRETRAINED`, `hf:PATH-OR-ID`, `mofi:PATH-OR-ID`, `timm:NAME`, `run:PATH` (trained here),
            `onnx:PATH`, `openvino:PATH`; see docs/encoders.md.
        device: `cpu`, `cuda`, `cuda:1` …; `auto` is `cuda` where there is one.
        precision: `fp32`, `bf16` or `fp16`; of the towers, embeddings are float32 in any case.

    Raises:
        UsageError: an unknown kind of encoder, device or precision.
        OpenMofiError: the encoder is missing, damaged, or cannot be fetched.
    """
    from openmofi.encoders import open_encoder

    return open_encoder(spec, device=device, precision=precision)


def build_kb(
    builder: Literal["table", "wordnet"],
    source: Folder,
    out: Folder,
    *,
    candidates: int = 30,
    memory: str = "4GB",
    restart: bool = False,
) -> KnowledgeBase:
    """Build a knowledge base; the same source gives the same bytes.

    Args:
        builder: `table` (tables of entities, names, relations: docs/knowledge-base.md) or `wordnet` (WordNet's dict
            folder).
        source: what it is built of.
        out: its folder.
        candidates: most entities that a name keeps.
        memory: that the build may use, such as `8GB`; the rest is on disk, in `out`.
        restart: see the head of this module.

    Raises:
        UsageError: `memory` is no size, or too little.
        OpenMofiError: the source is missing or damaged, or needs more memory; the disk is full.
    """
    from openmofi.knowledge import BuildSettings, KnowledgeBase, build_table, build_wordnet

    build = build_wordnet if builder == "wordnet" else build_table
    build(source, out, BuildSettings(candidates=candidates), memory=memory, restart=restart)
    return KnowledgeBase.open(out)


def sample_kb(
    kb: KnowledgeBase | Folder,
    out: Folder,
    *,
    types: Sequence[str] = (),
    entities: str | Path | Sequence[str] | None = None,
    labels: Labels | Folder | None = None,
    most: int | None = None,
    restart: bool = False,
) -> KnowledgeBase:
    """A slice of a knowledge base for a laptop; what stays is as it was (see `openmofi.knowledge.sample_entities`).

    Args:
        kb, out: a knowledge base or its folder, and the folder of the slice.
        types, entities, labels: one of these: types; identifiers, or a file of them (`openmofi.knowledge.read_ids`);
            labels, or their folder, whose judged entities stay, accepted or not.
        most, restart: keep so many, the most popular; see the head of this module.

    Raises:
        UsageError: an unknown type, or none or several ways to choose.
        OpenMofiError: nothing is left, or `out` holds something else.
    """
    from openmofi.dataset.objects import Labels
    from openmofi.knowledge import KnowledgeBase, read_ids, sample_entities

    if bool(types) + (entities is not None) + (labels is not None) != 1:
        raise UsageError("A slice is of types, of entities or of labels.", "Give one of the three.")
    ids = read_ids(entities) if isinstance(entities, str | Path) else entities
    ids = Labels.open(place_of(labels)).entities() if labels is not None else ids
    sample_entities(kb_of(kb), out, types=types, ids=ids, most=most, restart=restart)
    return KnowledgeBase.open(out)


def label(
    pairs: Pairs,
    *,
    kb: KnowledgeBase | Folder,
    encoder: EncoderLike,
    out: Folder,
    detector: str = "gazetteer",
    linker: str = "coherence",
    threshold: float = 0.8,
    target_precision: float | None = None,
    top_k: int = 5,
    sibling_margin: float = 0.0,
    template: str = "{name}: {description}",
    max_candidates: int = 8,
    boilerplate: bool = True,
    adapt: bool = False,
    rescue: bool = False,
    calibration: str | Path | None = None,
    verdicts: str | Path | None = None,
    cache: Folder | None = None,
    on_damage: Literal["stop", "keep"] = "stop",
    max_unpack_ratio: int = 200,
    text_column: str | Sequence[str] = "",
    image_column: str | Sequence[str] = "",
    key_column: str | Sequence[str] = "",
    image_root: str | Path = "",
    max_image_pixels: int = 89_478_485,
    batch_size: int = 64,
    device: str = "auto",
    precision: str = "fp32",
    compile: bool = False,
    engine: str = "auto",
    seed: int = 0,
    restart: bool = False,
    progress: bool | Progress | None = None,
) -> Labels:
    """Label image–text pairs with the entities that their images show; goes on where an earlier call stopped.

    Args:
        pairs: see `Pairs`.
        kb: a knowledge base or its folder.
        encoder: an `Encoder`, a spec, or one of your own (see `openmofi.encoders.as_encoder`).
        out: folder of the labels.
        detector: `gazetteer`, `spacy[:MODEL]`, `gliner:MODEL[?types=A,B]`, or several, as in `gazetteer+spacy`.
        linker: `coherence`, `prior` or `fusion:PATH`.
        threshold: accept from this calibrated probability on, 0..1.
        target_precision: choose the threshold for this expected precision instead.
        top_k: labels an image, at most.
        sibling_margin: lead in probability over the mention's second candidate.
        template: entity text for the encoder.
        max_candidates: candidates of a mention that the image judges.
        boilerplate: mark what texts repeat whatever is shown, credits, addresses, dates and file names; see
            `openmofi.labeling.TextSettings`.
        adapt: fit a light adapter on the job's own links; used where a check finds it better.
        rescue: judge again with what was found as witnesses; see `openmofi.labeling.LabelSettings`.
        calibration: a label job's `calibration.json` to use.
        verdicts: file of what people said of earlier labels of these pairs, or an index; chooses the threshold.
        cache: links, features and entity embeddings, shared by jobs; `out` where not given.
        on_damage: `stop` leaves a damaged shard out and raises in the end, `keep` takes what can be read of it.
        max_unpack_ratio: a compressed tar that unpacks to more than so many times its size counts as damaged.
        text_column, image_column, key_column: of tables; a common name where empty. Several entries, each a name or
            `PATTERN=NAME`, tell inputs apart, see `openmofi.pairs.ReadSettings`.
        image_root: folder that the images of tables lie below; the table's own where empty.
        max_image_pixels: larger images are refused before they are decoded.
        batch_size: images a forward pass.
        device, precision: of an encoder that is given by its spec.
        compile: its image tower by `torch.compile`, see `openmofi.encoders.Encoder.compiled`; pays on long jobs.
        engine: `auto` chooses by device, pairs and cores, `local`, `processes:N` (few pairs are done in this process
            all the same), `ray` or `ray:ADDRESS`, with `?gpus=F&cpus=N` for what an actor reserves; see docs/scale.md.
        seed: of the calibration's shuffles and the adapter.
        restart, progress: see the head of this module.

    Raises:
        UsageError: a setting out of its range, or an encoder that cannot judge.
        OpenMofiError: `out` was made with other settings, too little to calibrate on. At the end, where shards failed:
            the others are labelled, and `Labels.open(out)` opens them.
    """
    from openmofi import labeling
    from openmofi.dataset.objects import Labels
    from openmofi.engine import engine_named
    from openmofi.given import verdicts_of
    from openmofi.labeling import LabelSettings, SelectionSettings, TextSettings
    from openmofi.pairs import ReadSettings
    from openmofi.pairs.formats.columns import check_patterns, column_setting

    check_placement(device, precision)
    settings = LabelSettings(
        TextSettings(detector, linker, max_candidates, boilerplate),
        SelectionSettings(template, threshold, target_precision, top_k, sibling_margin),
        adapt=adapt,
        rescue=rescue,
        batch_size=batch_size,
        max_image_pixels=max_image_pixels,
        seed=seed,
        read=ReadSettings(
            on_damage=on_damage,
            max_unpack_ratio=max_unpack_ratio,
            text_column=column_setting(text_column),
            image_column=column_setting(image_column),
            key_column=column_setting(key_column),
            image_root=str(image_root),
        ),
    )
    shards = shards_of(pairs)
    check_patterns(settings.read, [shard.path for shard in shards])
    with shown_progress(progress) as shown:
        known, judge = kb_of(kb, shown), encoder_of(encoder, device, precision)
        labeling.label(
            shards,
            known,
            judge.compiled() if compile else judge,
            out,
            settings,
            cache=cache,
            calibration=calibration,
            verdicts=verdicts_of(verdicts) if verdicts else None,
            engine=engine_named(engine),
            progress=shown,
            restart=restart,
        )
    return Labels.open(out)


def explain(
    image: ImageInput,
    text: str | Mapping[str, str],
    *,
    kb: KnowledgeBase | Folder,
    encoder: EncoderLike,
    calibration: str | Path | None = None,
    detector: str = "gazetteer",
    linker: str = "coherence",
    threshold: float = 0.8,
    top_k: int = 5,
    sibling_margin: float = 0.0,
    template: str = "{name}: {description}",
    max_candidates: int = 8,
    boilerplate: bool = True,
    cache: Folder | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: bool | Progress | None = None,
) -> Explanation:
    """The whole reasoning for one pair: mentions, candidates, what the image says, the verdict.

    Args:
        image: a path, encoded bytes, a PIL image or a uint8 array (height, width, 3).
        text: its text; several by the names of their kinds, as in `{"title": …, "tags": …}`.
        kb, encoder, detector, linker, threshold, top_k, sibling_margin, template, max_candidates, boilerplate: as of
            `label`.
        calibration: a label job's `calibration.json`; where not given, that of a job which labelled with this encoder
            object before, or the one beside the encoder.
        cache: keeps entity embeddings; ~/.cache/openmofi where not given.
        device, precision: of an encoder that is given by its spec.
        progress: see the head of this module.

    Raises:
        OpenMofiError: the image cannot be read, or there is no calibration for this encoder and knowledge base.
    """
    from openmofi import labeling
    from openmofi.labeling import LabelSettings, SelectionSettings, TextSettings
    from openmofi.storage.copies import cache_folder

    check_placement(device, precision)
    settings = LabelSettings(
        TextSettings(detector, linker, max_candidates, boilerplate),
        SelectionSettings(template, threshold, top_k=top_k, sibling_margin=sibling_margin),
    )
    with shown_progress(progress) as shown:
        return labeling.explain(
            image,
            text,
            kb_of(kb, shown),
            encoder_of(encoder, device, precision),
            settings,
            cache=cache or cache_folder(),
            calibration=calibration,
            progress=shown,
        )


def build_dataset(
    labels: Labels | Folder,
    *,
    out: Folder,
    kb: KnowledgeBase | Folder | None = None,
    min_images: int = 5,
    max_images: int | None = None,
    near_duplicates: int | None = 3,
    exclude: Sequence[str | Path] = (),
    exclude_bits: int = 3,
    exclude_cosine: float | str | None = "auto",
    encoder: EncoderLike | None = None,
    report: bool = True,
    restart: bool = False,
) -> Dataset:
    """Labels → labelled dataset: rare entities and near-duplicates out, vocabulary, card, report; no image is copied.

    Args:
        labels: what `label` returned, or its folder.
        out: folder of the dataset.
        kb: names, descriptions and types of the entities.
        min_images: drop entities with fewer images.
        max_images: keep the most probable images of an entity.
        near_duplicates: drop images of one entity whose perceptual hashes differ in at most so many bits; `None`: off.
        exclude: evaluation sets whose images stay out, PATH or NAME=PATH: a folder of images or class folders, shards,
            a Parquet table with a column `phash`, or labels.
        exclude_bits: perceptual hashes of copies differ in at most so many bits.
        exclude_cosine: least cosine of copies' features; `"auto"`: measured for each set; `None`: hashes alone.
        encoder: gives these features; by default the one that the pairs were labelled with.
        report: write `report.html`.
        restart: see the head of this module.

    Raises:
        OpenMofiError: the labels are unfinished or damaged, an evaluation set cannot be read, nothing is left, or `out`
            was made with other settings.
    """
    from openmofi import dataset
    from openmofi.dataset.objects import Dataset

    settings = dataset.DatasetSettings(min_images, max_images, near_duplicates)
    exclusion = dataset.Exclusion.of(list(map(str, exclude)), exclude_bits, exclude_cosine)
    dataset.build_dataset(
        place_of(labels),
        out,
        settings,
        kb=kb_of(kb) if kb else None,
        exclusion=exclusion,
        encoder=encoder,
        report=report,
        restart=restart,
    )
    return Dataset.open(out)


def audit(
    labels: Labels | Dataset | Folder,
    truth: str | Path,
    *,
    at_recall: float = 0.75,
    split: str | None = None,
    kb: KnowledgeBase | Folder | None = None,
) -> Audit:
    """Labels, or a dataset, beside the truth: precision, recall, calibration.

    Args:
        labels: what `label` or `build_dataset` returned, or its folder.
        truth: a CSV, TSV, JSON-lines or Parquet table with the columns `key` and `entity`, and any of the others of
            `openmofi.schema.TRUTH`.
        at_recall: where precision is compared with the text-only linker's.
        split: only the pairs of this split of the truth.
        kb: names entities of the truth; by default the labels' own.

    Raises:
        OpenMofiError: the truth cannot be read, or does not match.
    """
    from openmofi import dataset

    return dataset.audit(place_of(labels), truth, at_recall=at_recall, split=split, kb=kb_of(kb) if kb else None)


def evaluate(
    protocol: str,
    *,
    data: Folder,
    encoder: EncoderLike | None = None,
    linker: str = "",
    out: Folder | None = None,
    cache: Folder | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    features: str = "auto",
    half: bool = False,
    failures: int = 20,
    device: str = "auto",
    precision: str = "fp32",
    bands: Folder | None = None,
    progress: bool | Progress | None = None,
) -> Result:
    """Judge an encoder or a linker by a published protocol.

    Args:
        protocol: `gpr1200`, `retrieval`, `knn`, `linear`, `zeroshot` …; `openmofi eval --list` shows them.
        data: in the protocol's layout.
        encoder: as of `label`; of protocols that judge encoders.
        linker: of protocols that judge linkers.
        out: gets the result as JSON, its items as Parquet, its worst queries as a page.
        cache: keeps features for all protocols; ~/.cache/openmofi where not given.
        settings: changes to the protocol's settings.
        features: `joint`, `backbone`, or `auto`: joint where there is one.
        half: keep features as float16.
        failures: worst queries on the page beside the result.
        device, precision: of an encoder that is given by its spec; the device also of a linker.
        bands: a label dataset; metrics are also given for the thirds of its classes by their number of images.
        progress: see the head of this module.

    Raises:
        UsageError: no such protocol or setting, or an encoder or linker that it cannot judge.
        OpenMofiError: data that are not in the protocol's layout.
    """
    from openmofi.evaluation.failures import write
    from openmofi.evaluation.run import check_judged, protocol_named
    from openmofi.evaluation.run import evaluate as run_protocol
    from openmofi.storage import make_folder
    from openmofi.storage.copies import cache_folder

    check_judged(protocol_named(protocol), encoder=bool(encoder), linker=bool(linker))
    check_placement(device, precision)
    for folder in (out, cache):
        if folder:
            make_folder(folder)
    with shown_progress(progress) as shown:
        evaluated = run_protocol(
            protocol,
            encoder_of(encoder, device, precision) if encoder else None,
            data,
            cache or cache_folder() / "evaluation",
            shown,
            linker=linker,
            device=device,
            overrides=overrides_of(settings),
            choice=features,
            half=half,
            failures=failures if out else 0,
            bands=bands or "",
        )
    if out:
        write(out, evaluated)
    return evaluated.result
