"""Pairs from what other tools write: COCO captions, FiftyOne's exports, `save_to_disk` of Hugging Face's `datasets`.

COCO and FiftyOne list images in one JSON file, which is read whole: some kilobytes an image.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO, Any

import pyarrow as pa

from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs.formats.columns import TEXT, find_columns
from openmofi.pairs.formats.files import ImageFiles
from openmofi.pairs.formats.grouping import RowPairs
from openmofi.pairs.formats.parquet import DAMAGE, Batches, believable_size, raise_if_of_machine, require_sound
from openmofi.pairs.read_settings import ReadSettings, open_source, report_damage
from openmofi.pairs.text import identifier, printable
from openmofi.schema import Pair
from openmofi.storage.addresses import filesystem_of

_STATE, _SPLITS, _SAMPLES, _LABELS = "state.json", "dataset_dict.json", "samples.json", "labels.json"
_DATA = "data.json"
_Entry = tuple[Any, Any, Any, Any]


def listing_of(inside: Sequence[str]) -> str | None:
    """Return the file that lists a folder's images, of the names `inside` it; `None` without one of these tools'."""
    for name, beside in (
        (_STATE, "dataset_info.json"),
        (_SPLITS, _SPLITS),
        (_SAMPLES, "metadata.json"),
        (_LABELS, _DATA),
        (_LABELS, "data"),
    ):
        if name in inside and beside in inside:
            return name
    return None


def read_listing(path: str, settings: ReadSettings, *, paths_only: bool = False) -> Iterator[Pair]:
    """Yield the images of a JSON file of COCO or FiftyOne, or of a folder of `datasets`, in order.

    Texts: of COCO the captions of an image, a line each; of FiftyOne the field `--text-column` or one of a common
    name, or else its labels. Keys: of COCO the images' numbers, of FiftyOne the paths or the names of samples. Paths of
    images: see `ImageFiles`; of COCO also below a folder `images`, or in its own layout beside `annotations`.

    Raises:
        OpenMofiError: it is damaged, cut off, or of another schema.
        UsageError: it has no column of texts or images, or holds several splits.
        OSError: reading failed on the way; trying again may help.
    """
    name = path.rpartition("/")[2]
    if name == _STATE:
        yield from _saved(path, settings)
        return
    raw = _json(path)
    if name == _SPLITS:
        splits = raw.get("splits", [])
        raise UsageError(
            f"{path.rpartition('/')[0]} holds the splits {', '.join(map(str, splits))}.",
            "Give the folder of each split.",
        )
    root = settings.image_root or _coco_images(path)
    rows, files = RowPairs(settings), ImageFiles(path, replace(settings, image_root=root), paths_only=paths_only)
    for key, address, text, url in _entries(path, raw, settings):
        location = identifier(address)
        image = None if location is None else files.image(str(location))
        if image is None and location is not None and "info" in raw and not paths_only:
            image = files.image(f"images/{location}")
        yield rows.pair(printable(key), image, text, url)
    rows.report_useless(path, files.unread)


def _coco_images(path: str) -> str:
    """The images of `annotations/captions_train2017.json` in COCO's own layout: the folder `train2017` beside
    `annotations`, perhaps in `images`; "" where there is none.
    """
    folder, _, name = path.rpartition("/")
    above, _, last = folder.rpartition("/")
    split = name.removesuffix(".json").partition("_")[2]
    filesystem, _ = filesystem_of(path)
    if last != "annotations" or not split:
        return ""
    return next((each for each in (f"{above}/{split}", f"{above}/images/{split}") if filesystem.isdir(each)), "")


def _json(path: str) -> Mapping[str, Any]:
    with open_source(path) as handle:
        try:
            raw = json.load(handle)
        except (ValueError, RecursionError) as error:
            raise OpenMofiError(f"{path} is no JSON, or cut off: {error}.", "Fetch or export it again.") from error
    if not isinstance(raw, dict):
        raise _foreign(path)
    return raw


def _foreign(path: str) -> OpenMofiError:
    return OpenMofiError(
        f"{path} is neither COCO's captions (images, annotations) nor an export of FiftyOne (samples, labels).",
        "Convert it to a CSV or JSON-lines table of image and caption.",
    )


def _entries(path: str, raw: Mapping[str, Any], settings: ReadSettings) -> Iterator[_Entry]:
    try:
        if isinstance(raw.get("images"), list) and isinstance(raw.get("annotations"), list):
            yield from _coco(raw)
        elif isinstance(raw.get("samples"), list):
            yield from _samples(path, raw["samples"], settings)
        elif isinstance(raw.get("labels"), dict):
            yield from _classified(path, raw["labels"], raw.get("classes") or ())
        else:
            raise _foreign(path)
    except (KeyError, TypeError, AttributeError) as error:
        raise OpenMofiError(
            f"{path} has an entry of another schema ({type(error).__name__}: {error}).",
            "Export it again by its own tool.",
        ) from error


def _coco(raw: Mapping[str, Any]) -> Iterator[_Entry]:
    names = {each["id"]: each["name"] for each in raw.get("categories", [])}
    captions: dict[Any, dict[str, None]] = {}
    for each in raw["annotations"]:
        text = each["caption"] if "caption" in each else names.get(each.get("category_id"))
        if isinstance(text, str) and text.strip():
            captions.setdefault(each["image_id"], {})[text.strip()] = None
    for image in raw["images"]:
        lines = captions.get(image["id"]) or {}
        text = "\n".join(lines) if lines else image.get("caption")
        yield image["id"], image["file_name"], text, image.get("coco_url") or image.get("flickr_url")


def _samples(path: str, samples: Sequence[Mapping[str, Any]], settings: ReadSettings) -> Iterator[_Entry]:
    named = settings.text_column if isinstance(settings.text_column, str) else settings.text_column[0]
    if named and samples and not any(named in sample for sample in samples):
        raise UsageError(
            f"{path} has no field {named!r} (--text-column); it has: "
            f"{', '.join(sorted(name for name in samples[0] if not name.startswith('_')))}."
        )
    for sample in samples:
        field = named or next((name for name in TEXT if name in sample), "")
        text = (
            _text(sample.get(field))
            if field
            else "\n".join(
                dict.fromkeys(
                    text for value in sample.values() if (text := _text(value) if isinstance(value, dict) else "")
                )
            )
        )
        yield sample["filepath"], sample["filepath"], text, None


def _text(value: Any) -> Any:
    """Return a field's text: itself, or the names in labels of FiftyOne."""
    if not isinstance(value, dict):
        return value
    labels = [value, *value.get("classifications", []), *value.get("detections", [])]
    return "\n".join(dict.fromkeys(str(each["label"]) for each in labels if each.get("label")))


def _classified(path: str, labels: Mapping[str, Any], classes: Sequence[str]) -> Iterator[_Entry]:
    """Yield images of a `FiftyOneImageClassificationDataset` with the text that we export, else the labels, which may
    be numbers of `classes`.
    """
    folder = path.rpartition("/")[0] or "."
    try:
        folders: Mapping[str, Any] = _json(f"{folder}/{_DATA}")
    except OpenMofiError:
        folders = {}
    beside = {} if folders else {PurePosixPath(name).stem: f"data/{name}" for name in _names(f"{folder}/data")}
    for name, value in labels.items():
        given = [each for each in (value if isinstance(value, list) else [value]) if each is not None]
        about = given[0].get("attributes", {}) if given and isinstance(given[0], dict) else {}
        targets = [each["label"] if isinstance(each, dict) else each for each in given]
        names = [classes[target] if target in range(len(classes)) else target for target in targets]
        text = about.get("text") or "\n".join(map(str, names))
        yield name, folders.get(name) or beside.get(name), text or None, None


def _names(folder: str) -> list[str]:
    filesystem, root = filesystem_of(folder)
    try:
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in filesystem.ls(root, detail=False))
    except OSError:
        return []


def holds_images(folder: str) -> bool:
    """Whether a folder is one of `datasets`, whose images lie inside its tables."""
    return listing_of(_names(folder)) == _STATE


class _Remaining:
    """A file that limits requests to what it still has, since memory is taken for what is requested."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._size = file, file.seek(0, 2)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        remaining = self._size - self._file.tell()
        return self._file.read(remaining if size < 0 else min(size, remaining))

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """Do nothing: the opener closes the file."""


def _saved(path: str, settings: ReadSettings) -> Iterator[Pair]:
    """Read what `Dataset.save_to_disk` wrote: Arrow's streams, in the order of `state.json`."""
    folder, count = path.rpartition("/")[0] or ".", 0
    listed = _json(path).get("_data_files")
    names = [
        each.get("filename") if isinstance(each, dict) else None
        for each in (listed if isinstance(listed, list) else ())
    ]
    if not names or not all(isinstance(name, str) for name in names):
        raise OpenMofiError(f"{path} does not name the files of its data.", "Save the dataset again.")
    rows, files = RowPairs(settings), ImageFiles(path, settings)
    for name in map(str, names):
        with open_source(f"{folder}/{PurePosixPath(name).name}") as handle:
            try:
                stream = pa.ipc.open_stream(_Remaining(handle))
                columns = find_columns(folder, stream.schema.names, settings)
                read = Batches.of(folder, stream.schema, columns, settings)
                for batch in stream:
                    used = batch.select(columns.all())
                    require_sound(used)
                    for row in read.rows(used, count, files):
                        yield rows.pair(*row)
                        count += 1
            except DAMAGE as error:
                raise_if_of_machine(error, believable_size(handle, settings))
                report_damage(f"{folder}/{name} is damaged after {count} pairs: {error}.", settings, error)
    rows.report_useless(folder, files.unread)
