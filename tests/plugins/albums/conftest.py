"""Two libraries of the same seven photos, and labels of them, as a label job would write them."""

import io

import pyarrow as pa
import pytest
from photo_servers import SECRET, Immich, Photo, PhotoPrism, served, uuid
from PIL import Image

from openmofi.knowledge import KnowledgeBase
from openmofi.plugins import json_server
from openmofi.plugins.albums.server import KEY
from openmofi.schema import LABELS, Reason
from openmofi.storage import claim_folder, finish_manifest, write_table

NAMES = ("e:sun", "e:moon", "e:brick")
PHOTOS = range(7)


def jpeg(number):
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (30 * number, 200, 255 - 30 * number)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(json_server, "WAIT", 0.0)
    monkeypatch.setenv(KEY, SECRET)


def about(number):
    return {
        "file_name": f"IMG_{number}.jpg",
        "description": f"The sun over hill {number}" if number % 2 else "",
        "albums": [f"Trip {number // 3}", "Family"][: 1 + number % 2],
        "people": ["Ada"] if number == 3 else [],
    }


def immich():
    stub = Immich(
        {uuid(f"photo {n}"): Photo(uuid(f"photo {n}"), jpeg(n), about(n)) for n in PHOTOS}, ["Places/Hill", "dog"]
    )
    photos = list(stub.photos.values())
    photos[0].tags.add(uuid("Places/Hill"))
    photos[1].tags.update({uuid("Places/Hill"), uuid("dog")})
    return stub


def photoprism():
    photos = {id: Photo(id, jpeg(n), about(n)) for n in PHOTOS if (id := f"ps6sg6be2lvl0y{n:02d}")}
    stub = PhotoPrism(photos, ["Sun", "Outdoor", "Moon"])
    for photo in photos.values():
        photo.about["title"] = "Unknown"
    first, second, third, *_ = photos.values()
    # The classifier's, and one that a person removed; a keyword of a person; a title of a person.
    first.labels.update({1: ["image", 30], 2: ["image", 10], 3: ["image", 100]})
    first.about |= {"keywords": "outdoor, sun", "title": "Outdoor"}
    second.about["keywords"] = "brickwork, moon"
    third.about |= {"title": "Bricks at noon", "title_src": "manual"}
    return stub


@pytest.fixture(params=[immich, photoprism], ids=["immich", "photoprism"])
def library(request):
    with served(request.param()) as stub:
        yield stub


@pytest.fixture
def immich_library():
    with served(immich()) as stub:
        yield stub


@pytest.fixture
def photoprism_library():
    with served(photoprism()) as stub:
        yield stub


@pytest.fixture
def labelled_photos(small_world, tmp_path):
    """Writes labels of photos: identifier → {entity: probability}."""

    def write(labels, name="labels"):
        out, kb = tmp_path / name, KnowledgeBase.open(small_world.kb)
        shard = {"path": "pairs/00000.parquet", "name": "00000", "fingerprint": "0" * 16}
        manifest = claim_folder(
            out, "labels", {"shards": [shard], "kb": str(small_world.kb)}, {"/kb": kb.fingerprint, "00000": "0" * 16}
        )
        rows = [
            {
                "key": photo,
                "text": "a text",
                "status": "labelled",
                "mentions": [{"start": 0, "end": 1, "surface": "a", "detector": "names", "reason": ""}],
                "entities": [
                    {
                        "mention": 0,
                        "entity": entity,
                        "prior": 1.0,
                        "link_score": 1.0,
                        "image_score": 0.3,
                        "probability": probability,
                        "accepted": probability >= 0.5,
                        "reason": Reason.ACCEPTED if probability >= 0.5 else Reason.BELOW_THRESHOLD,
                    }
                    for entity, probability in entities.items()
                ],
                "width": 64,
                "height": 48,
                "phash": 0,
            }
            for photo, entities in labels.items()
        ]
        write_table(out / "labels/00000.parquet", pa.Table.from_pylist(rows, LABELS))
        finish_manifest(out, manifest, {"rows_in": len(rows), "rows_out": len(rows), "accepted": len(rows)})
        return out

    return write


@pytest.fixture
def labels(library, labelled_photos):
    """Each photo has a label of 97.3 %, every other one more of 61 %, and one that was not accepted."""
    return labelled_photos(
        {
            photo: {NAMES[number % 3]: 0.973, **({NAMES[(number + 1) % 3]: 0.61} if number % 2 else {}), "e:peak": 0.2}
            for number, photo in enumerate(library.photos)
        }
    )
