"""What a stranger's pairs do to the label job: every row comes out with a status, and the good ones do not suffer."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from image_bytes import encode, png
from PIL import Image
from tars import tar_bytes

import openmofi
from openmofi.labeling.calibrate.neighbours import Gallery
from openmofi.schema import LabelStatus, PairStatus
from small_world import SHAPES, drawn_image
from terminal import in_process

pytestmark = pytest.mark.slow

GOOD = "good"


def drawing(entity: str = "e:sun", seed: int = 0) -> Image.Image:
    return Image.open(io.BytesIO(drawn_image(entity, np.random.default_rng(seed)))).convert("RGB")


def deep(image: Image.Image) -> bytes:
    """16-bit grey."""
    return encode(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG")


def see_through(image: Image.Image) -> bytes:
    """A palette with a transparent colour."""
    return encode(image.quantize(16), "PNG", transparency=3)


def animated(kind: str) -> bytes:
    first, *others = (drawing(seed=seed) for seed in range(3))
    return encode(first, kind, save_all=True, append_images=others, duration=40)


def alpha(image: Image.Image) -> bytes:
    image = image.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return encode(image, "PNG")


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[str, tarfile.TarInfo]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return name, member


def good_rows() -> list[tuple[str, bytes, str]]:
    """Pairs in which nothing is wrong, three of each thing."""
    return [
        (f"{GOOD}{place}-{seed}", drawn_image(entity, np.random.default_rng(40 + seed)), f"image: {name}")
        for place, (entity, (name, _, _)) in enumerate(SHAPES.items())
        for seed in range(3)
    ]


def bad_rows() -> list[tuple[list[tuple[str, bytes | tarfile.TarInfo]], str, PairStatus | None]]:
    """Members of a row, its key, and its status; `None` where the row can be used all the same."""
    sun, jpeg = b"image: sun", drawn_image("e:sun", np.random.default_rng(1))
    rows: list[tuple[list[tuple[str, bytes | tarfile.TarInfo]], str, PairStatus | None]] = []

    def row(
        key: str,
        status: PairStatus | None,
        image: bytes | None = jpeg,
        text: bytes | None = sun,
        kind: str = "jpg",
        *more: tuple[str, bytes | tarfile.TarInfo],
    ) -> None:
        members = [(f"{key}.{kind}", image)] if image is not None else []
        members += [(f"{key}.txt", text)] if text is not None else []
        rows.append(([*members, *more], key, status))

    row("truncated", PairStatus.IMAGE_BROKEN, jpeg[: len(jpeg) // 2])
    row("no-image-at-all", PairStatus.IMAGE_UNSUPPORTED_FORMAT, b"<html>404</html>")
    row("noise", PairStatus.IMAGE_BROKEN, b"404")
    row("no-bytes", PairStatus.IMAGE_BROKEN, b"")
    row("bomb", PairStatus.IMAGE_TOO_LARGE, png(100_000, 100_000), kind="png")
    row("gif", None, animated("GIF"), kind="gif")
    row("webp", None, animated("WEBP"), kind="webp")
    row("cmyk", None, encode(drawing().convert("CMYK"), "JPEG"))
    row("deep", None, deep(drawing()), kind="png")
    row("alpha", None, alpha(drawing()), kind="png")
    row("palette", None, see_through(drawing()), kind="png")
    row("one-pixel", None, png(1, 1, data=b"\0\1\2\3"), kind="png")
    row("empty-text", PairStatus.TEXT_EMPTY, text=b"")
    row("long-text", PairStatus.TEXT_TOO_LONG, text=b"sun and moon " * 80_000)
    row("latin-1", PairStatus.TEXT_INVALID, text=b"sun \xe9\xff moon")
    row("no-text", PairStatus.TEXT_MISSING, text=None)
    row("no-picture", PairStatus.IMAGE_MISSING, image=None)
    row("../../etc/escape", None)
    row("/etc/openmofi-escape", None)
    row("linked-image", PairStatus.IMAGE_MISSING, None, sun, "jpg", link("linked-image.jpg", "/etc/passwd"))
    row(
        "linked-text",
        PairStatus.TEXT_MISSING,
        jpeg,
        None,
        "jpg",
        link("linked-text.txt", "../../etc/passwd", tarfile.LNKTYPE),
    )
    row(f"{GOOD}0-0", PairStatus.DUPLICATE_KEY)
    return rows


def write_rows(place: Path, rows: list[tuple[str, bytes, str]]) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(
        tar_bytes(
            [member for key, image, text in rows for member in ((f"{key}.jpg", image), (f"{key}.txt", text.encode()))]
        )
    )
    return place


def mixed_tar(place: Path) -> list[tuple[str, PairStatus | None]]:
    """A tar with a bad row after each good one; returns the keys and statuses in its order."""
    good, bad = good_rows(), bad_rows()
    members: list[tuple[str, bytes | tarfile.TarInfo]] = []
    expected: list[tuple[str, PairStatus | None]] = []
    for number, (key, image, text) in enumerate(good):
        members += [(f"{key}.jpg", image), (f"{key}.txt", text.encode())]
        expected.append((key, None))
        if number < len(bad):
            members += bad[number][0]
            expected.append(bad[number][1:])
    assert len(good) > len(bad)
    place.parent.mkdir(parents=True)
    place.write_bytes(tar_bytes(members))
    return expected


def rows_of(out: Path, shard: str) -> list[dict]:
    return pq.read_table(out / "labels" / f"{shard}.parquet").to_pylist()


def tree(folder: Path, without: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if without not in (path, *path.parents)}


@pytest.fixture(scope="module")
def mixed(small_world, small_encoder, tmp_path_factory):
    """The mixed tar, labelled: (expected rows, label rows, counts, what else was written)."""
    folder = tmp_path_factory.mktemp("mixed")
    out = folder / "deep/in/out"
    expected = mixed_tar(folder / "a/b/mixed.tar")
    before = tree(folder, out)
    here = Path.cwd()
    os.chdir(folder / "a/b")
    try:
        counts = openmofi.label("mixed.tar", kb=small_world.kb, encoder=small_encoder, out=out).summary
    finally:
        os.chdir(here)
    return expected, rows_of(out, "mixed"), counts, tree(folder, out) - before - {folder / "deep", folder / "deep/in"}


def test_every_bad_row_comes_out_with_its_status(mixed):
    expected, rows, counts, _ = mixed
    assert counts["rows_in"] == counts["rows_out"] == len(expected) == len(rows)
    assert [row["key"] for row in rows] == [key for key, _ in expected]
    assert counts["unread_formats"] == {"HTML": 1}
    for row, (key, status) in zip(rows, expected, strict=True):
        if status is not None:
            assert (key, row["status"]) == (key, status)
            assert row["entities"] == []
        else:
            assert row["status"] in (LabelStatus.LABELLED, LabelStatus.REJECTED), row
            assert row["width"] > 0
            assert row["entities"]


def test_odd_images_keep_their_size_and_show_what_they_show(mixed):
    rows = {row["key"]: row for row in mixed[1]}
    for key in ("gif", "webp", "cmyk", "alpha", "palette", "deep"):
        assert (rows[key]["width"], rows[key]["height"]) == (120, 100)
    for key in ("gif", "webp", "cmyk"):
        assert rows[key]["status"] == LabelStatus.LABELLED
    assert rows["bomb"]["width"] == 0
    assert len(rows["long-text"]["text"]) == 10_000
    assert rows["latin-1"]["text"] == "sun \ufffd\ufffd moon"


def test_the_good_rows_are_labelled_as_if_they_were_alone(mixed, small_world, small_encoder, tmp_path):
    shard = write_rows(tmp_path / "clean.tar", good_rows())
    openmofi.label(shard, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out")
    among = {row["key"]: row for row in reversed(mixed[1])}
    clean = rows_of(tmp_path / "out", "clean")
    for row in clean:
        twin = among[row["key"]]
        assert (row["status"], row["text"], row["phash"]) == (twin["status"], twin["text"], twin["phash"])
        np.testing.assert_allclose(
            [one["probability"] for one in row["entities"]], [one["probability"] for one in twin["entities"]], atol=1e-3
        )
    assert sum(row["status"] == LabelStatus.LABELLED for row in clean) > len(clean) / 2


def test_few_pairs_are_judged_by_the_witnesses_of_the_calibration(small_world, small_encoder, tmp_path):
    shard = write_rows(tmp_path / "few.tar", good_rows())
    few = openmofi.label(shard, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out")
    assert few.summary["calibration"]["source"] == "stored"
    assert len(Gallery.load(tmp_path / "out/gallery.npz")) > len(good_rows())
    before = rows_of(tmp_path / "out", "few")
    openmofi.label(
        shard,
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "again",
        cache=tmp_path / "out",
        calibration=tmp_path / "out/calibration.json",
        target_precision=0.9,
    )
    for one, other in zip(before, rows_of(tmp_path / "again", "few"), strict=True):
        assert [each["probability"] for each in one["entities"]] == [each["probability"] for each in other["entities"]]


def test_nothing_is_written_outside_the_output(mixed):
    assert mixed[3] == set()
    assert not Path("/etc/openmofi-escape.jpg").exists()


def test_a_shortage_of_memory_is_tried_again_and_never_a_status(small_world, small_encoder, tmp_path, monkeypatch):
    shard = write_rows(tmp_path / "clean.tar", good_rows())
    open_image, shortages = Image.open, [3]

    def short_of_memory(*arguments: object, **options: object) -> Image.Image:
        if shortages[0]:
            shortages[0] -= 1
            raise MemoryError
        return open_image(*arguments, **options)

    plain = openmofi.label(shard, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "plain")
    monkeypatch.setattr(Image, "open", short_of_memory)
    openmofi.label(shard, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "short")
    assert shortages == [0]
    assert rows_of(tmp_path / "short", "clean") == rows_of(tmp_path / "plain", "clean")
    assert not {"image_broken", "image_missing"} & plain.summary["status"].keys()
    shortages[0] = 10**6
    with pytest.raises(openmofi.OpenMofiError, match=r"clean.*failed 3 times: too little memory is left to decode"):
        openmofi.label(shard, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "never")
    assert not list((tmp_path / "never").rglob("*.arrow"))
    assert not list((tmp_path / "never").rglob("labels/*.parquet"))


def test_what_is_not_read_is_said_at_the_end(small_world, small_encoder, tmp_path):
    unread = [("vector", b"<svg/>", "image: sun"), ("page", b"%PDF-1.7", "image: sun")]
    shard = write_rows(tmp_path / "clean.tar", good_rows() + unread)
    done = in_process("label", shard, "--kb", small_world.kb, "--encoder", small_encoder, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "2 images in a format that is not read (PDF 1; SVG 1)" in done.stdout


def test_tables_with_columns_of_their_own_in_one_job(small_world, small_encoder, tmp_path):
    rows = good_rows()
    for name, columns in (("a", ("picture", "t")), ("b", ("photo-file", "words"))):
        folder = tmp_path / name
        folder.mkdir()
        for key, image, _ in rows:
            (folder / f"{key}.jpg").write_bytes(image)
        (folder / f"{name}.csv").write_text(
            ",".join(columns) + "\n" + "".join(f"{folder}/{key}.jpg,{text}\n" for key, _, text in rows)
        )
    job = ["label", tmp_path / "a/a.csv", tmp_path / "b/b.csv", "--kb", small_world.kb, "--encoder", small_encoder]
    refused = in_process(*job, "-o", tmp_path / "out", "--text-column", "t")
    assert refused.returncode == 2
    assert "b.csv has no column 't' (--text-column); it has: photo-file, words" in refused.stderr
    done = in_process(
        *job,
        "-o",
        tmp_path / "out2",
        "--text-column",
        "t",
        "--text-column",
        "b.csv=words",
        "--image-column",
        "b.csv=photo-file",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert "image_missing" not in json.loads(done.stdout)["status"]
