"""`openmofi.evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openmofi.api.given import Folder, check_placement, encoder_of, public
from openmofi.config import Settings, changed
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.encoders import EncoderLike
    from openmofi.engine import Progress
    from openmofi.evaluation.result import Result


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
        device: of the encoder or linker: `cpu`, `cuda`, `cuda:1` …; `auto` is `cuda` where there is one.

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
