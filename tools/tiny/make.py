"""Makes what `openmofi demo --tiny` brings in the package: pages, knowledge base, truth (`encoder.py`: its encoder).

    python tools/tiny/make.py runs/demo          # of a finished demo; writes src/openmofi/plugins/demo/data

Pages are held-out pages of the sample world: artwork that no encoder was fitted on. Artwork is of sets whose licence
lets it be passed on with a name beside it (Apache-2.0, MIT, CC BY 4.0), never of logos and flags.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from openmofi.storage import write_bytes, write_table
from studies.world.images.gather import gather, rename
from studies.world.images.packages import fetch
from studies.world.pages.plan import HELDOUT_PAGES, Page, make_plan
from studies.world.pages.source import make_source
from studies.world.world_settings import WorldSettings

DATA = Path(__file__).parents[2] / "src/openmofi/plugins/demo/data"
SETS = ("noto", "noto-v1", "fluent-emoji", "fluent-emoji-flat", "twemoji", "emojione")
LEFT_OUT = ("brand", "country")
PAGES, SIDE, QUALITY = 1000, 112, 78


def planned_pages() -> list[Page]:
    """The held-out pages of the default world that may be passed on, in the order of their keys."""
    settings = WorldSettings()
    world = rename(gather(fetch(), settings))
    plan = make_plan(world, make_source(world, settings), settings)
    pages = [page for shard in plan if shard.split == HELDOUT_PAGES for page in shard.pages]
    return [page for page in pages if page.artwork.set in SETS and page.domain not in LEFT_OUT]


def members(folder: Path, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Images (made smaller) and texts of pages of the world, by key."""
    wanted = set(keys)
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                file = tar.extractfile(member)
                if key in wanted and kind != "json" and file:
                    content = file.read()
                    yield (member.name, content) if kind == "txt" else (f"{key}.webp", smaller(content))


def smaller(content: bytes) -> bytes:
    """An image whose shorter side has `SIDE` pixels, as WebP; one that is broken stays as it is."""
    try:
        image = Image.open(io.BytesIO(content)).convert("RGB")
    except OSError:
        return content
    factor = SIDE / min(image.size)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)
    made = io.BytesIO()
    image.save(made, "WEBP", quality=QUALITY, method=6)
    return made.getvalue()


def write_pages(demo: Path) -> list[str]:
    """Write `pages.tar`; the keys of its pages."""
    keys = [page.key for page in planned_pages()][:PAGES]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in sorted(members(demo / "world/pages/heldout_pages", keys)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    write_bytes(DATA / "pages.tar", archive.getvalue())
    return keys


def write_truth(demo: Path, keys: list[str]) -> None:
    """Write `truth.parquet` of the pages, whose shard is `pages` now."""
    truth = pq.read_table(demo / "world/truth.parquet")
    truth = truth.filter(pc.is_in(truth["key"], pa.array(keys)))
    shards = pa.array(["pages"] * truth.num_rows, truth.schema.field("shard").type)
    write_table(DATA / "truth.parquet", truth.set_column(truth.schema.get_field_index("shard"), "shard", shards))


def write_kb_tables(demo: Path, keys: list[str]) -> None:
    """Write the tables of the knowledge base: all that the pages' texts may mean, and what that is a kind of."""
    wanted = set(keys)
    rows = [
        row
        for path in sorted((demo / "labels-heldout/labels").glob("*.parquet"))
        for row in pq.read_table(path, columns=["key", "entities"]).to_pylist()
        if row["key"] in wanted
    ]
    kept = {entity["entity"] for row in rows for entity in row["entities"]}
    depicted = pq.read_table(demo / "world/truth.parquet")
    kept |= set(depicted.filter(pc.equal(depicted["split"], HELDOUT_PAGES))["entity"].to_pylist())
    relations = pq.read_table(demo / "world/kb/relations.parquet")
    for _ in range(2):
        kept |= set(relations.filter(pc.is_in(relations["head"], pa.array(sorted(kept))))["tail"].to_pylist())
    # Names of countries come under ODbL, which asks that a base made with them be passed on under it too.
    ids = pa.array(sorted(entity for entity in kept if entity and not entity.startswith(("country:", "brand:"))))
    tables = {
        name: pq.read_table(demo / f"world/kb/{name}.parquet")
        for name in ("entities", "names", "relations", "surfaces")
    }
    entities = tables["entities"].filter(pc.is_in(tables["entities"]["id"], ids))
    names = tables["names"].filter(pc.is_in(tables["names"]["entity"], ids))
    pairs = relations.filter(pc.and_(pc.is_in(relations["head"], ids), pc.is_in(relations["tail"], ids)))
    surfaces = tables["surfaces"]
    known = pa.array([name.casefold() for name in names["name"].to_pylist()])
    surfaces = surfaces.filter(pc.is_in(pc.utf8_lower(surfaces["name"]), known))
    for name, table in (("entities", entities), ("names", names), ("relations", pairs), ("surfaces", surfaces)):
        write_table(DATA / f"kb/{name}.parquet", table)
        print(f"{name}: {table.num_rows:,} rows")


def main(demo: Path) -> None:
    """See the module."""
    keys = write_pages(demo)
    write_truth(demo, keys)
    write_kb_tables(demo, keys)
    sizes = {str(path.relative_to(DATA)): path.stat().st_size for path in sorted(DATA.rglob("*")) if path.is_file()}
    print(json.dumps({"pages": len(keys), "bytes": sizes}, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
