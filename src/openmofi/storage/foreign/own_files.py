"""Folders of transformers that others made: what they name lies in them."""

from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.storage.typed_json import as_type, read_json


def require_own_files(folder: Path) -> None:
    """Refuse a folder whose index of weights, or whose tokenizer, names files that transformers would read elsewhere.

    Raises:
        OpenMofiError: it does, or one of these files is damaged.
    """
    for path in (*folder.glob("*.index.json"), *folder.glob("tokenizer_config.json")):
        raw = read_json(path, dict[str, Any], "Copy the whole checkpoint.")
        weights = as_type(raw.get("weight_map") or {}, dict[str, Any], str(path), "Copy the whole checkpoint.")
        # A vocabulary may be given as such, or as a path; positional arguments begin with it.
        vocabulary = [raw[name] for name in ("vocab", "merges") if isinstance(raw.get(name), str)]
        elsewhere = [name for name in weights.values() if not isinstance(name, str) or Path(name).name != name]
        # `tokenizer_file` often says where its maker had it, which releases before 5.12 would open where it is there.
        elsewhere += [
            name
            for key, name in raw.items()
            if key.endswith("_file") and isinstance(name, str) and Path(name).name != name and (folder / name).exists()
        ]
        for name in (*vocabulary, *(raw.get("init_inputs") or ()), *elsewhere):
            raise OpenMofiError(
                f"{path} names {str(name)[:80]!r}, which no file of others may.",
                "Put the file beside it, under the name that transformers gives it.",
            )
