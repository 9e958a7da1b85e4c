"""The label job with `--linker fusion:PATH`: a tiny decoder over the small world's names."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fusion_world import tiny
from typer.testing import CliRunner

import openmofi
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.linking import open_linker
from openmofi.mentions import open_detector
from openmofi.plugins.fusion.store import build_fusion, save_fusion
from openmofi.storage import expand_shards, read_manifest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def decoder(tmp_path_factory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("decoder"), seed=2)


def write_decoder(folder: Path, seed: int) -> Path:
    settings = tiny(folder / "tokenizer", ("circle", "cross", "box"))
    return save_fusion(folder / "linker", build_fusion(settings, seed=seed))


@pytest.fixture(scope="module")
def few(small_world, tmp_path_factory) -> Path:
    """Shards with three images each, two whose text has the ambiguous name and one whose text has not."""
    from openmofi.pairs import Record, read_pairs, write_tar

    folder = tmp_path_factory.mktemp("few")
    for shard in expand_shards([str(small_world.shards)])[:2]:
        pairs = [pair for pair in read_pairs(shard) if pair.image and pair.image != b"broken"]
        chosen = [pair for pair in pairs if "orange" in pair.text][:2] + [
            pair for pair in pairs if "sun" in pair.text and "orange" not in pair.text
        ][:1]
        write_tar(folder / f"{shard.name}.tar", [Record(pair.key, pair.image, pair.text) for pair in chosen])
    return folder


def job(small_world, encoder, few, out, linker, *more):
    return CliRunner().invoke(
        app,
        list(
            map(
                str,
                (
                    "label",
                    few,
                    "--kb",
                    small_world.kb,
                    "--encoder",
                    encoder,
                    "-o",
                    out,
                    "--linker",
                    linker,
                    "--json",
                    *more,
                ),
            )
        ),
        catch_exceptions=False,
    )


def links_of(out: Path) -> dict[str, list[tuple[str, float, float]]]:
    rows = [row for path in sorted(out.glob("links/*/*.parquet")) for row in pq.read_table(path).to_pylist()]
    return {row["key"]: [(link["entity"], link["prior"], link["link_score"]) for link in row["links"]] for row in rows}


def test_every_pair_is_labelled_and_only_the_ambiguous_name_is_asked(
    small_world, small_encoder, labelled, few, decoder, tmp_path
):
    calibration = ("--calibration", labelled / "calibration.json")
    done = job(small_world, small_encoder, few, tmp_path / "fusion", f"fusion:{decoder}", *calibration)
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)
    assert counts["rows_in"] == counts["rows_out"] == 6
    job(small_world, small_encoder, few, tmp_path / "prior", "prior", *calibration)
    fused, plain = links_of(tmp_path / "fusion"), links_of(tmp_path / "prior")
    assert set(fused) == set(plain)
    asked = 0
    for key, links in fused.items():
        before = {entity: (prior, score) for entity, prior, score in plain[key]}
        for entity, prior, score in links:
            assert prior == before[entity][0]
            if "orange" in entity:
                asked += score != pytest.approx(before[entity][1], abs=1e-3)
            else:
                assert score == pytest.approx(before[entity][1], abs=1e-4)
    assert asked >= 4
    kb = KnowledgeBase.open(small_world.kb)
    text = next(
        row["text"]
        for path in (tmp_path / "fusion/labels").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
        if "orange" in row["text"]
    )
    linker = open_linker(f"fusion:{decoder}", kb)
    (expected,) = linker.link([text], open_detector("gazetteer", kb).detect([text]))
    assert [(link.entity, link.link_score) for link in expected] in [
        [(entity, pytest.approx(score)) for entity, _, score in links] for links in fused.values()
    ]


def test_a_job_knows_the_decoder_by_its_content(small_world, small_encoder, labelled, few, decoder, tmp_path):
    def label(path: Path, out: Path, **more) -> None:
        openmofi.label(
            few,
            kb=small_world.kb,
            encoder=small_encoder,
            out=out,
            linker=f"fusion:{path}",
            calibration=labelled / "calibration.json",
            **more,
        )

    moved = shutil.copytree(decoder, tmp_path / "moved")
    label(moved, tmp_path / "out")
    assert "/linker" in read_manifest(tmp_path / "out", "labels").inputs
    before = {path.name: path.read_bytes() for path in (tmp_path / "out/labels").glob("*.parquet")}
    label(decoder, tmp_path / "again", cache=tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again/labels").glob("*.parquet")} == before
    assert not list((tmp_path / "again").glob("links/*"))
    shutil.copytree(write_decoder(tmp_path / "other", seed=3), moved, dirs_exist_ok=True)
    with pytest.raises(OpenMofiError, match="made with other settings"):
        label(moved, tmp_path / "out")


def test_a_decoder_that_is_not_there_is_told(small_world, small_encoder, few, tmp_path):
    with pytest.raises(OpenMofiError, match="not a fusion decoder"):
        job(small_world, small_encoder, few, tmp_path / "out", f"fusion:{tmp_path}")
    with pytest.raises(UsageError, match="unknown value 'fusion' for linker"):
        job(small_world, small_encoder, few, tmp_path / "out", "fusion")
    assert not list(tmp_path.rglob("*.parquet"))
