"""`openmofi albums read`, against immich's and PhotoPrism's stub."""

import json
import subprocess
from hashlib import sha1
from threading import Event

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from photo_servers import NOTHING, SECRET, Immich, Photo, PhotoPrism, served, uuid

from openmofi.pairs import read_pairs
from openmofi.plugins import json_server
from openmofi.plugins.albums import immich, photoprism, reading, server
from openmofi.plugins.albums.server import KEY
from openmofi.storage import expand_shards
from terminal import command, in_process, sentence


def read(stub, out, *more):
    return in_process("albums", "read", stub.name, "-o", out, *more)


def rows(out):
    return pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("*.parquet"))]).to_pylist()


def test_every_image_is_a_row_with_what_people_say_and_its_preview(library, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "ROWS", 3)
    for kind in (immich, photoprism):
        monkeypatch.setattr(kind, "PAGE", 2)
    before = library.state()
    done = read(library, tmp_path / "photos", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"rows": 7, "read": 7, "failed": 0, "shards": 3, "errors": {}}
    assert library.state() == before
    assert {method for method, path in library.asked if path != "search/metadata"} == {"GET"}
    found = rows(tmp_path / "photos")
    assert [row["key"] for row in found] == list(library.photos)
    assert [row["image"] for row in found] == [photo.image for photo in library.photos.values()]
    assert found[3]["people"] == "Ada"
    assert found[1]["albums"] == "Trip 0, Family"
    assert found[1]["description"] == "The sun over hill 1"
    assert found[1]["file_name"] == "IMG_1.jpg"
    assert "The sun over hill 1\n" in found[1]["text"]
    pairs = [pair for shard in expand_shards([str(tmp_path / "photos")]) for pair in read_pairs(shard)]
    assert [(pair.key, pair.text, pair.status) for pair in pairs] == [(row["key"], row["text"], "ok") for row in found]


def test_tags_of_people_are_read_and_ours_are_not(immich_library, tmp_path):
    second = list(immich_library.photos.values())[1]
    for value in ("OpenMOFI", "OpenMOFI/sun/≥ 95 %", "OpenMOFIs", "My/OpenMOFI"):
        second.tags.add(immich_library._upsert(value))
    assert read(immich_library, tmp_path / "photos").returncode == 0
    found = rows(tmp_path / "photos")
    assert found[0]["tags"] == "Places, Hill"
    assert sorted(found[1]["tags"].split(", ")) == ["Hill", "My", "OpenMOFI", "OpenMOFIs", "Places", "dog"]
    assert "sun" not in found[1]["tags"]


def test_what_photoprism_says_by_itself_is_not_read(photoprism_library, tmp_path):
    """Labels, keywords, titles made of labels, and captions of models."""
    fourth = list(photoprism_library.photos.values())[3]
    fourth.about |= {"description": "A model sees a zebra", "description_src": "image"}
    film = Photo("ps6sg6be2lvl0y99", None, {"type": "video"})
    photoprism_library.photos[film.id] = film
    assert read(photoprism_library, tmp_path / "photos").returncode == 0
    found = rows(tmp_path / "photos")
    assert len(found) == 7
    assert [row["title"] for row in found] == ["", "", "Bricks at noon", "", "", "", ""]
    said = json.dumps([row["text"] for row in found]).lower()
    assert not [word for word in ("outdoor", "brickwork", "zebra", "unknown", "nobody", "december") if word in said]


def test_what_cannot_be_fetched_is_a_row_that_says_why(library, tmp_path):
    first, second, third, *_ = library.photos.values()
    first.image, second.image = None, b"<html>no image</html>"
    gone = third.id

    def fault(method, path):
        if path.endswith(gone):
            return 404, {}, b'{"message": "gone"}'
        return None

    library.fault = fault
    done = read(library, tmp_path / "photos")
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "photos")
    assert [row["status"] for row in found] == ["failed"] * 3 + ["read"] * 4
    assert all(row["error_message"] for row in found[:3])
    assert found[1]["text"]
    assert "4 of 7 images" in done.stdout
    pairs = [pair for shard in expand_shards([str(tmp_path / "photos")]) for pair in read_pairs(shard)]
    assert len(pairs) == 7
    assert pairs[1].status == "image_missing"


def test_one_photo_that_is_odd_is_one_row(library, tmp_path, monkeypatch):
    """A preview of a server of files without JSON, one that is large, and a photo whose JSON has another form."""
    first, second, third, *_ = library.photos.values()
    monkeypatch.setattr(server, "MOST_PREVIEW", 10_000)
    second.image += bytes(10_000)
    key = {"assets": "originalFileName", "photos": "Title"}
    previews = []

    def fault(method, path):
        if path in (f"assets/{first.id}/thumbnail", f"t/{sha1(first.id.encode()).hexdigest()}/preview-token/fit_720"):
            previews.append(path)
            return 404, {}, b"<html>nginx preview-token</html>"
        if path.endswith(third.id):
            return 200, {}, json.dumps({"id": third.id, key[path.partition("/")[0]]: None}).encode()
        return None

    library.fault = fault
    done = read(library, tmp_path / "photos")
    assert done.returncode == 0, done.stderr
    assert len(previews) == 1
    found = rows(tmp_path / "photos")
    assert [row["status"] for row in found] == ["failed"] * 3 + ["read"] * 4
    assert "404" in found[0]["error_message"]
    assert "more than 10,000" in found[1]["error_message"]
    assert PhotoPrism.token not in str(found) + (tmp_path / "photos/manifest.json").read_text() or isinstance(
        library, Immich
    )


def test_a_list_of_nothing_without_an_end_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_IDLE_PAGES", 5)
    with served(Immich({})) as stub:
        stub.fault = lambda method, path: (
            (200, {}, b'{"assets": {"items": [], "nextPage": "2"}}') if len(stub.asked) < 50 else (400, {}, b"")
        )
        assert "again and again" in sentence(read(stub, tmp_path / "photos"))
        assert len(stub.asked) == 6


def test_somebody_s_file_beside_the_list_is_no_failure(library, tmp_path):
    beside = tmp_path / "photos/listed"
    library.fault = lambda method, path: (beside / "mine").touch() if beside.exists() else None
    assert read(library, tmp_path / "photos").returncode == 0
    assert (tmp_path / "photos/listed/mine").exists()


@pytest.mark.parametrize("stopped", range(0, 15, 3))
def test_what_was_stopped_goes_on_to_the_same_bytes(library, tmp_path, monkeypatch, stopped):
    monkeypatch.setattr(reading, "ROWS", 2)
    monkeypatch.setattr(reading, "AT_ONCE", 1)
    assert read(library, tmp_path / "whole").returncode == 0
    library.asked.clear()
    library.fault = lambda method, path: (503, {}, b"") if len(library.asked) > stopped else None
    assert "status 503" in sentence(read(library, tmp_path / "photos"))
    kept = sorted(path.name for path in (tmp_path / "photos").glob("*.parquet"))
    library.asked.clear()
    library.fault = lambda method, path: None
    assert read(library, tmp_path / "photos").returncode == 0
    assert len(
        {path for _, path in library.asked} & {f"{kind}/{id}" for kind in ("assets", "photos") for id in library.photos}
    ) <= 7 - 2 * len(kept)
    files = {path.name for path in (tmp_path / "whole").iterdir()}
    assert {path.name for path in (tmp_path / "photos").iterdir()} == files
    for name in sorted(files - {"manifest.json"}):
        assert (tmp_path / "photos" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    library.asked.clear()
    assert read(library, tmp_path / "photos").returncode == 0
    assert not library.asked


def test_the_key_is_written_nowhere(library, tmp_path, monkeypatch):
    done = in_process("--verbose", "albums", "read", library.name, "-o", tmp_path / "photos")
    library.fault = lambda method, path: (403, {}, f"not you, {SECRET}!".encode())
    refused = read(library, tmp_path / "other")
    assert "status 403: not you, …!" in sentence(refused)
    assert "HTTP Request" not in done.stderr
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    said = "".join((done.stdout, done.stderr, refused.stdout, refused.stderr)).encode()
    assert len(written) >= 2
    assert not [each for each in (*written, said) if SECRET.encode() in each or PhotoPrism.token.encode() in each]


ANSWERS = {
    "wrong key": (401, {}, b'{"message": "Invalid API key"}'),
    "another address": (404, {}, b"<html>not here</html>"),
    "too many": (429, {"Retry-After": "1"}, b""),
    "broken": (500, {}, b"Internal Server Error"),
    "a page": (200, {"Content-Type": "text/html"}, b"<!doctype html><title>Sign in</title>"),
    "nothing": (200, {}, b""),
    "a redirect": (302, {"Location": "http://127.0.0.1:9/"}, b""),
    "other JSON": (200, {}, b'{"assets": {"items": [{"id": 7}]}}'),
    "deep": (200, {}, b"[" * 100_000),
    "paths": (200, {}, b'{"assets": {"items": [{"id": "../../admin"}]}}'),
    "paths too": (200, {}, b'[{"UID": "x/../../config"}]'),
    "not UTF-8": (200, {}, b'["\xff"]'),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers_that_are_none_are_one_sentence(library, tmp_path, answer):
    library.fault = lambda method, path: answer
    said = sentence(read(library, tmp_path / "photos"))
    assert library.address in said
    assert not list(tmp_path.rglob("*.parquet"))
    library.fault = lambda method, path: None
    assert read(library, tmp_path / "photos").returncode == 0
    assert len(rows(tmp_path / "photos")) == 7


def test_a_redirect_takes_no_key_along(library, tmp_path):
    with served(Immich({})) as other:
        library.fault = lambda method, path: (307, {"Location": f"{other.address}/api/{path}"}, b"")
        assert "status 307" in sentence(read(library, tmp_path / "photos"))
        assert not other.asked


def test_answers_without_an_end_are_cut(library, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "MOST_BYTES", 10_000)
    library.fault = lambda method, path: (200, {}, b'["' + b"x" * 20_000 + b'"]')
    assert "more than 10,000 bytes" in sentence(read(library, tmp_path / "photos"))


def test_a_server_that_does_not_answer_is_left(library, tmp_path, monkeypatch):
    hold = Event()
    monkeypatch.setattr(json_server, "SECONDS", 0.2)
    library.fault = lambda method, path: hold.wait(30) and None
    try:
        assert "does not answer" in sentence(read(library, tmp_path / "photos"))
    finally:
        hold.set()


def test_a_list_without_an_end_is_left(tmp_path, monkeypatch):
    with served(Immich({uuid("a"): Photo(uuid("a"), b"")})) as stub:
        page = {"albums": {"count": 0, "facets": [], "items": [], "total": 0}}
        item = {"id": uuid("a")}
        page["assets"] = {"count": 1, "facets": [], "items": [item], "total": 9, "nextPage": "2"}
        stub.fault = lambda method, path: (200, {}, json.dumps(page).encode())
        assert "again and again" in sentence(read(stub, tmp_path / "photos"))


def test_a_limit_is_kept_and_another_server_is_another_folder(library, tmp_path):
    assert read(library, tmp_path / "photos", "--limit", "3").returncode == 0
    assert len(rows(tmp_path / "photos")) == 3
    other = library.name.replace("127.0.0.1", "localhost")
    assert "server" in sentence(in_process("albums", "read", other, "-o", tmp_path / "photos", "--limit", "3"))


def test_nothing_but_failures_is_an_error(photoprism_library, tmp_path):
    for photo in photoprism_library.photos.values():
        photo.image = NOTHING
    said = sentence(read(photoprism_library, tmp_path / "photos"))
    assert said.startswith("None of 7 images")


@pytest.mark.parametrize(
    "name",
    [
        "http://nas:2283",
        "immich:nas",
        "immich:ftp://nas",
        "immich:http://",
        "immich:http://user:pw77@nas",
        "immich:http://nas?key=1",
        "immich:http://[nas",
        "flickr:http://nas",
        "",
    ],
)
def test_other_addresses_are_wrong_use(name, tmp_path):
    done = in_process("albums", "read", name, "-o", tmp_path / "photos")
    sentence(done, 2)
    assert "pw77" not in done.stderr


@pytest.mark.parametrize("key", ["", "  ", "two words", "naïve", "a\x00b".replace("\x00", "\x01")])
def test_without_a_key_nothing_is_asked(library, tmp_path, monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    assert "no key" in sentence(read(library, tmp_path / "photos"), 2)
    assert not library.asked


def test_a_job_that_is_killed_goes_on(library, tmp_path):
    """SIGKILL amid the previews; the same command ends with all rows."""
    job: list[subprocess.Popen] = []

    def fault(method, path):
        if "thumbnail" in path or "fit_720" in path:
            job[0].kill()
            job[0].wait()

    library.fault = fault
    job.append(subprocess.Popen(command("albums", "read", library.name, "-o", tmp_path / "photos")))
    assert job[0].wait() != 0
    library.fault = lambda method, path: None
    assert read(library, tmp_path / "photos").returncode == 0
    assert len(rows(tmp_path / "photos")) == 7
