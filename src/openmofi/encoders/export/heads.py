"""Exported heads (`onnx:FOLDER`, `openvino:FOLDER`): as they were trained, over the frozen encoder as graphs.

The folder:

    encoder.json        kind `exported_heads`: format, precision, where the base lies, the heads' fingerprint, source
    heads.safetensors   as of `run:`
    base/               an export of the encoder underneath; of a pair of backbones its graphs give `features`
    folds/0, folds/1 …  cross-fitted copies of the heads, where the original has them; their base is `../../base`

So features, heads, folds and calibration (`COMPANIONS`) are to each other what they are in the original.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from openmofi.encoders.export.opened import SPEC_FILE, read_exported_json
from openmofi.encoders.export.settings import ExportSettings
from openmofi.encoders.preprocess import preprocessing_from_json
from openmofi.encoders.projection import (
    FORMAT_VERSION,
    ProjectionEncoder,
    heads_fingerprint,
    load_projection_encoder,
    read_heads,
    write_heads,
)
from openmofi.encoders.protocol import Encoder
from openmofi.encoders.registry import encoder_folder
from openmofi.errors import OpenMofiError
from openmofi.storage import write_json

BASE_FOLDER = "base"
COMPANIONS = ("calibration.json", "classes.parquet", "folds.json")
_FOLDS, _CLASSES = "folds", "classes.parquet"


def save_exported_heads(folder: Path, encoder: ProjectionEncoder, base: Encoder, settings: ExportSettings,
                        place: str = BASE_FOLDER) -> ProjectionEncoder:
    """Write `encoder.json` and `heads.safetensors` of an encoder whose base was exported; what opens there.

    Args:
        folder: where; made where it is missing.
        encoder: the original.
        base: its base, exported and opened.
        settings: of the export.
        place: of the base, relative to `folder`.

    Raises:
        OpenMofiError: the heads do not fit the base, or the folder cannot be written.
    """
    made = ProjectionEncoder(encoder.spec, base, encoder.image_head, encoder.text_head,
                             logit_scale=encoder.logit_scale, adapter=encoder.adapter)
    write_heads(folder, made.image_head, made.text_head)
    write_json(folder / SPEC_FILE, {
        "format_version": FORMAT_VERSION, "kind": "exported_heads", "format": settings.format,
        "precision": settings.precision, "adapter": made.adapter, "base": place, "base_fingerprint": base.fingerprint,
        "heads_fingerprint": heads_fingerprint(made.image_head, made.text_head), "dim": made.dim,
        "logit_scale": made.logit_scale, "preprocessing": asdict(made.preprocessing),
        "source": {"spec": encoder.spec, "fingerprint": encoder.fingerprint}, "fingerprint": made.fingerprint})
    return made


def load_exported_heads(folder: str | Path, engine: str, open_base: Callable[[str], Encoder], *,
                        spec: str = "") -> ProjectionEncoder:
    """Open what `save_exported_heads` wrote; `open_base` opens the exported base by its spec.

    Raises:
        OpenMofiError: the folder is no such export, is damaged or half-written, or of a newer format.
        UsageError: it was exported for the other engine.
    """
    folder = Path(folder)
    raw = read_exported_json(folder, engine)
    image_head, text_head = read_heads(folder, raw["heads_fingerprint"])
    # Resolved by words alone, so that an encoder and its folds name one base and open it once.
    base = open_base(f"{engine}:{os.path.normpath(folder / str(raw['base']))}")
    wanted = preprocessing_from_json(raw["preprocessing"], str(folder / SPEC_FILE))
    if base.fingerprint != raw["base_fingerprint"] or base.preprocessing != wanted:
        raise OpenMofiError(f"The heads in {folder} were exported with another base than the one in {raw['base']}.",
                            "Export it again.")
    return ProjectionEncoder(spec or f"{engine}:{folder}", base, image_head, text_head,
                             logit_scale=float(raw["logit_scale"]), adapter=bool(raw["adapter"]),
                             source_fingerprint=str(raw["source"]["fingerprint"]))


def companions(spec: str) -> list[str]:
    """What lies beside an encoder of ours and belongs to it: its calibration, class vectors and folds."""
    folder = encoder_folder(spec)
    return [] if folder is None else [name for name in COMPANIONS if (folder / name).exists()]


def copy_companions(folder: Path, encoder: Encoder, made: Encoder, settings: ExportSettings) -> None:
    """Put beside an export what lies beside the original, the heads of its folds among it.

    Args:
        folder: of the export.
        encoder: the original.
        made: the export.
        settings: of the export.

    Raises:
        OpenMofiError: a fold is damaged or stands on another base.
    """
    source = encoder_folder(encoder.spec)
    if source is None:
        return
    for name in companions(encoder.spec):
        shutil.copyfile(source / name, folder / name)
    if not isinstance(encoder, ProjectionEncoder) or not isinstance(made, ProjectionEncoder):
        return
    for fold in sorted(path.name for path in (source / _FOLDS).glob("*")):
        place = folder / _FOLDS / fold
        one = load_projection_encoder(source / _FOLDS / fold, lambda _: encoder.base)
        save_exported_heads(place, one, made.base, settings, f"../../{BASE_FOLDER}")
        if (classes := source / _FOLDS / fold / _CLASSES).exists():
            shutil.copyfile(classes, place / _CLASSES)
