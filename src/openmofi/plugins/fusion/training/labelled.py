"""Examples from a label job: the senses that images made sure of, as what a linker should have said."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.dataset.audit.entities import labels_kb
from openmofi.dataset.tables import Folder, Judged
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, normalise
from openmofi.plugins.fusion.corpora.examples import Candidate, Example
from openmofi.plugins.fusion.training.recipe import LinkData

TRAIN, HELD_OUT = "train", "validation"
_ONE_IN = 5  # texts are held out

Place = tuple[str, int, int]
"""A text's hash, and a span of it."""


def labelled_examples(data: LinkData) -> list[Example]:
    """One example of each ambiguous mention whose sense a label job is sure of.

    A fifth of the texts is held out, by their hashes. Of a name with more than `per_name` examples those stay whose
    texts have the lowest hashes. Where a text comes with several images, the surest speaks.

    Raises:
        OpenMofiError: the folder holds no finished labels, they were made with another knowledge base, or none of an
            ambiguous mention is sure enough.
    """
    folder = Folder.open(data.labels, "labels")
    kb = _kb_of(folder, data.kb)
    kept: defaultdict[str, dict[Place, tuple[float, str, str, list[dict[str, Any]]]]] = defaultdict(dict)
    for shard in folder.shards:
        for text, mention, judged in _sure_mentions(folder.read(shard, ["text", "mentions", "entities"]), data.sure):
            best = max(judged, key=lambda candidate: (candidate["probability"], candidate["entity"]))
            of_name = kept[normalise(mention["surface"])]
            place = (_hash(text), mention["start"], mention["end"])
            known = of_name.get(place)
            if known is None or (best["probability"], best["entity"]) > known[:2]:
                of_name[place] = (best["probability"], best["entity"], text, judged)
            if len(of_name) > data.per_name:
                del of_name[max(of_name)]
    if not kept:
        raise OpenMofiError(
            f"{data.labels} has no ambiguous mention with a sense of probability {data.sure:g}.",
            "Label more pairs, or lower data.sure.",
        )
    return [
        _example(kb, name, place, *of_place) for name in sorted(kept) for place, of_place in sorted(kept[name].items())
    ]


def _kb_of(folder: Folder, path: str) -> KnowledgeBase:
    kb = KnowledgeBase.open(path) if path else labels_kb(folder)
    if kb is None:
        raise OpenMofiError(
            f"The knowledge base of {folder.path} is no longer where it was, or has changed.",
            "Give it with --kb, or label again.",
        )
    if kb.fingerprint != folder.manifest.inputs.get("/kb"):
        raise OpenMofiError(
            f"{folder.path} was made with another knowledge base than {path}.",
            f"Give that one ({folder.manifest.settings.get('kb')}), or label with this one.",
        )
    return kb


def _sure_mentions(table: pa.Table, sure: float) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Text, mention and judged candidates where one of several candidates is sure."""
    judged = Judged.of(table)
    rows = np.unique(judged.row[judged.probability >= sure])
    for pair in table.take(pa.array(rows)).to_pylist():
        of_mentions: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for candidate in pair["entities"]:
            of_mentions[candidate["mention"]].append(candidate)
        for number, candidates in of_mentions.items():
            mention = pair["mentions"][number]
            surest = max(candidate["probability"] for candidate in candidates)
            if surest >= sure and len(candidates) > 1 and not mention["reason"]:
                yield pair["text"], mention, candidates


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _example(
    kb: KnowledgeBase, name: str, place: Place, probability: float, gold: str, text: str, judged: list[dict[str, Any]]
) -> Example:
    digest, start, end = place
    judged = sorted(judged, key=lambda candidate: (-candidate["prior"], candidate["entity"]))
    entities = [kb.entity(row) for row in kb.rows([candidate["entity"] for candidate in judged]).tolist()]
    candidates = tuple(
        Candidate(
            entity.id, entity.name, entity.description, entity.types[0] if entity.types else "", candidate["prior"]
        )
        for entity, candidate in zip(entities, judged, strict=True)
    )
    return Example(text, start, end, candidates, gold, TRAIN if int(digest, 16) % _ONE_IN else HELD_OUT, name)
