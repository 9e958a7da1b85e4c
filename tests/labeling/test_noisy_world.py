"""No way to label claims more than it reaches, also where noise is systematic and an adapter could learn it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conftest import made_once
from openmofi.engine import LocalEngine, Quiet
from openmofi.knowledge import build_table
from openmofi.pairs import read_pairs
from openmofi.plugins.adapter.bags import HeadSettings
from openmofi.storage import Shard, expand_shards
from studies.noisy import WAYS, claim, noisy_table, run_noisy
from studies.noisy_world import NOISES, Noise, NoisyWorld, write_corpus
from studies.world.encoder import PARTIAL_LABELS, train_sample_encoders
from studies.world.world import build_world
from studies.world.world_settings import world_settings

pytestmark = pytest.mark.slow
HEADS = HeadSettings(batch_size=128, epochs=20, dim=256, folds=2)
NOISY = [noise for noise in NOISES if noise != "none"]


def make_world(sources: Path, demo: Path) -> None:
    settings = replace(world_settings(max_entities=120), heldout_pages=0.4)
    build_world(sources, demo / "world", settings, LocalEngine())
    build_table(demo / "world/kb", demo / "kb")
    train_sample_encoders(
        expand_shards([str(demo / "world/pages/train")]),
        demo / "kb",
        demo / "encoders",
        cache=demo / "cache",
        progress=Quiet(),
        recipes={PARTIAL_LABELS: HEADS},
    )


@pytest.fixture(scope="module")
def world(sources: Path, tmp_path_factory) -> Path:
    """The demo's folders of a world of 120 entities; the encoder was fitted on 60 % of the artworks' pages."""
    return made_once(tmp_path_factory, "noisy-demo", lambda folder: make_world(sources, folder))


@pytest.fixture(scope="module")
def pages(world: Path) -> list[Shard]:
    """Those that it has not seen."""
    return expand_shards([str(world / "world/pages/heldout_pages")])


BLIND = {"all"}
"""Where images say too little beside 550 pages of such noise: the jobs call themselves blind, and accept nothing."""


@pytest.mark.parametrize("noise", NOISY)
def test_no_more_is_claimed_than_reached(world: Path, pages: list[Shard], tmp_path: Path, noise: str) -> None:
    metrics = run_noisy(tmp_path, world, pages, Quiet(), noises=[noise])
    noisy_table(metrics).print("Claimed and reached")
    assert set(metrics[noise]) == set(WAYS)
    too_much = {
        way: f"expected {run['expected']:.3f}, found {run['precision']:.3f} of {run['accepted']}"
        for way, run in metrics[noise].items()
        if run["holds"] is False
    }
    assert not too_much
    assert all((run["accepted"] == 0) is (noise in BLIND) for run in metrics[noise].values())


@pytest.mark.parametrize(
    ("accepted", "precision", "expected", "holds"),
    [
        (0, None, None, None),
        (49, 0.5, 0.95, None),
        (50, 0.91, 0.95, True),
        (50, 0.99, 0.9, True),
        (50, 0.89, 0.95, False),
    ],
)
def test_a_claim_counts_from_fifty_labels_on(
    accepted: int, precision: float | None, expected: float | None, holds: bool | None
) -> None:
    assert claim({"accepted": accepted, "precision": precision, "expected": expected})["holds"] is holds


def texts_and_images(folder: Path) -> dict[str, tuple[str, bytes | None]]:
    return {pair.key: (pair.text, pair.image) for shard in expand_shards([str(folder)]) for pair in read_pairs(shard)}


def test_each_noise_changes_what_it_says_and_nothing_else(world: Path, pages: list[Shard], tmp_path: Path) -> None:
    noisy = NoisyWorld.open(pages, world / "world")
    corpora = {}
    for name, noise in {**NOISES, "again": Noise(collections=0.6)}.items():
        write_corpus(noisy, noise, tmp_path / name)
        corpora[name] = texts_and_images(tmp_path / name)
    plain = corpora["none"]
    assert plain == texts_and_images(world / "world/pages/heldout_pages")
    assert corpora["again"] == corpora["collections"]
    shown = {key: entity for (_, key), (entity, _) in noisy.shown.items()}
    for name in NOISY:
        assert corpora[name].keys() == plain.keys()
        changed = [key for key in shown if corpora[name][key][0] != plain[key][0]]
        assert 0.4 < len(changed) / len(shown) < 0.95
        assert all(corpora[name][key] == page for key, page in plain.items() if key not in shown)
    for key, entity in shown.items():
        text, image = plain[key]
        collected, styled = corpora["collections"][key]
        assert collected == text or collected.startswith(f"{text}. Part of the ")
        assert (styled == image) == (collected == text)
        beside = corpora["companions"][key][0].removeprefix(text)
        assert not beside or beside.endswith(noisy.names[noisy.companions[entity]])
        assert noisy.companions[entity] != entity
        assert not set(noisy.untrue_topics(entity)) & noisy.kinship.ancestors(entity)
