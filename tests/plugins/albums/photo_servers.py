"""immich and PhotoPrism, as far as `openmofi albums` asks them: real HTTP, every request and answer checked.

specs.json has what it takes of immich's OpenAPI specification 3.2.2 (names, types and required fields, as its SDK of
that version on npm has them) and of PhotoPrism's Swagger specification v1 (commit 382ffa89 of 2024-12-13; its JSON
writes `Labels` and `LabelID`, as its own tests read them). What the servers do is written after
server/src/services/tag.service.ts of the one, internal/api/photo_label.go and internal/entity/photo.go of the other.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft202012Validator

SPECS = json.loads((Path(__file__).parent / "specs.json").read_text())
SECRET = "key-of-the-owner"
WHEN = "2026-12-01T00:00:00.000Z"
NOTHING = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
Answer = tuple[int, Any]
Fault = Callable[[str, str], tuple[int, dict[str, str], bytes] | None]


@dataclass
class Photo:
    """What is known of an image; `tags` are immich's, `labels` PhotoPrism's: identifier → [source, uncertainty]."""

    id: str
    image: bytes | None
    about: dict[str, Any] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    labels: dict[int, list[Any]] = field(default_factory=dict)


@dataclass
class Stub:
    """A server.

    Attributes:
        photos: identifier → photo, in the order of the server's list.
        asked: method and path of every request.
        fault: decides of a request that it gets another answer.
    """

    photos: dict[str, Photo]
    address: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    fault: Fault = lambda method, path: None
    wrong: list[str] = field(default_factory=list)
    lock: Any = field(default_factory=Lock)

    kind = ""
    api = ""

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.address}"

    def operation(self, method: str, path: str) -> str:
        parts = path.strip("/").split("/")
        for named in SPECS[self.kind]:
            verb, _, pattern = named.partition(" ")
            wanted = pattern.split("/")
            if (
                verb == method
                and len(wanted) == len(parts)
                and all(a in ("{}", b) for a, b in zip(wanted, parts, strict=True))
            ):
                return named
        self.wrong.append(f"{method} {path} is not in the specification")
        return ""

    def checked(self, value: Any, schema: dict[str, Any] | None, where: str) -> None:
        if schema is not None:
            defs = {"$defs": SPECS[self.kind]["$defs"]}
            self.wrong += [
                f"{where}: {error.message}" for error in Draft202012Validator({**schema, **defs}).iter_errors(value)
            ]

    def may(self, headers: Any) -> bool:
        raise NotImplementedError

    def do(self, operation: str, parts: list[str], query: dict[str, str], body: Any) -> Answer:
        raise NotImplementedError


class Immich(Stub):
    kind, api = "immich", "/api/"

    def __init__(self, photos, tags=()):
        super().__init__(photos)
        self.tags: dict[str, str] = {}
        for value in tags:
            self._upsert(value)

    def may(self, headers):
        return headers["x-api-key"] == SECRET

    def _upsert(self, value):
        for end in range(1, value.count("/") + 2):
            path = "/".join(value.split("/")[:end])
            if path not in self.tags.values():
                self.tags[uuid(path)] = path
        return uuid(value)

    def night(self):
        """What immich does each night: tags go that no photo has, nor a tag below them."""
        used = {self.tags[tag] for photo in self.photos.values() for tag in photo.tags}
        self.tags = {
            id: path for id, path in self.tags.items() if any(f"{each}/".startswith(f"{path}/") for each in used)
        }

    def state(self):
        tagged = {photo.id: sorted(self.tags[tag] for tag in photo.tags) for photo in self.photos.values()}
        return tagged, sorted(self.tags.values())

    def _tag(self, id):
        parent = self.tags[id].rpartition("/")[0]
        name = self.tags[id].rpartition("/")[2]
        said = {"id": id, "name": name, "value": self.tags[id], "createdAt": WHEN, "updatedAt": WHEN}
        return said | ({"parentId": uuid(parent)} if parent else {})

    def _asset(self, photo, whole=True):
        flags = dict.fromkeys(("isArchived", "isEdited", "isFavorite", "isOffline", "isTrashed"), False)
        times = dict.fromkeys(("createdAt", "fileCreatedAt", "fileModifiedAt", "localDateTime", "updatedAt"), WHEN)
        said = {
            "id": photo.id,
            "type": "IMAGE",
            "checksum": "",
            "duration": None,
            "hasMetadata": True,
            "height": 9,
            "width": 9,
        }
        name = photo.about.get("file_name", "IMG_1.jpg")
        said |= {"originalFileName": name, "originalPath": f"/data/{name}", "ownerId": uuid("me"), "thumbhash": None}
        said |= {"visibility": "timeline", **flags, **times}
        if whole:
            said |= {
                "exifInfo": {"description": photo.about.get("description")},
                "tags": [self._tag(tag) for tag in sorted(photo.tags)],
            }
            people = {"birthDate": None, "isHidden": False, "thumbnailPath": ""}
            said["people"] = [people | {"id": uuid(name), "name": name} for name in photo.about.get("people", ())]
        return said

    def do(self, operation, parts, query, body):
        if operation == "POST search/metadata":
            start = (body["page"] - 1) * body["size"]
            photos = list(self.photos.values())
            items = [self._asset(photo, False) for photo in photos[start : start + body["size"]]]
            more = str(body["page"] + 1) if start + body["size"] < len(photos) else None
            nothing = {"count": 0, "facets": [], "items": [], "total": 0}
            return 200, {
                "albums": nothing,
                "assets": {**nothing, "items": items, "count": len(items), "nextPage": more},
            }
        if operation == "PUT tags":
            return 200, [self._tag(self._upsert(value)) for value in body["tags"]]
        if operation == "PUT tags/assets":
            added = 0
            for id in body["assetIds"]:
                if id in self.photos and not self.photos[id].about.get("foreign"):
                    new = {tag for tag in body["tagIds"] if tag in self.tags} - self.photos[id].tags
                    self.photos[id].tags |= new
                    added += len(new)
            return 200, {"count": added}
        if operation == "DELETE tags/{}/assets":
            if parts[1] not in self.tags:
                return 400, {"message": "Not found or no tag.asset access", "error": "Bad Request", "statusCode": 400}
            results = []
            for id in body["ids"]:
                there = id in self.photos and parts[1] in self.photos[id].tags
                if there:
                    self.photos[id].tags.remove(parts[1])
                results.append({"id": id, "success": there} | ({} if there else {"error": "not_found"}))
            return 200, results
        photo = self.photos.get(query["assetId"] if operation == "GET albums" else parts[1])
        if photo is None:
            return 400, {"message": "Not found or no asset.read access", "error": "Bad Request", "statusCode": 400}
        if operation == "GET albums":
            return 200, [self._album(name) for name in photo.about.get("albums", ())]
        if operation == "GET assets/{}":
            return 200, self._asset(photo)
        return (200, photo.image) if photo.image is not None else (404, {"message": "Not found", "statusCode": 404})

    def _album(self, name):
        said = {"id": uuid(name), "albumName": name, "albumThumbnailAssetId": None, "albumUsers": [], "assetCount": 1}
        flags = dict.fromkeys(("hasSharedLink", "isActivityEnabled", "shared"), False)
        return {**said, "createdAt": WHEN, "updatedAt": WHEN, "description": "", **flags}


class PhotoPrism(Stub):
    kind, api = "photoprism", "/api/v1/"
    token = "preview-token"

    def __init__(self, photos, labels=()):
        super().__init__(photos)
        self.labels: dict[int, str] = dict(enumerate(labels, 1))

    def may(self, headers):
        return headers["Authorization"] == f"Bearer {SECRET}"

    def state(self):
        return {
            photo.id: (
                sorted((self.labels[id], *said) for id, said in photo.labels.items()),
                photo.about.get("keywords", ""),
                photo.about.get("title", ""),
            )
            for photo in self.photos.values()
        }

    def _photo(self, photo):
        about = photo.about
        labels = [
            {"PhotoID": 1, "LabelID": id, "LabelSrc": source, "Uncertainty": uncertainty, "Photo": None}
            | {"Label": {"ID": id, "Name": self.labels[id], "Slug": slug(self.labels[id])}}
            for id, (source, uncertainty) in photo.labels.items()
        ]
        markers = [{"Name": name, "Type": "face", "Invalid": False} for name in about.get("people", ())]
        markers += [{"Name": "Nobody", "Type": "face", "Invalid": True}]
        name = about.get("file_name", "IMG_1.jpg")
        return {
            "UID": photo.id,
            "Type": about.get("type", "image"),
            "Title": about.get("title", ""),
            "TitleSrc": about.get("title_src", ""),
            "Description": about.get("description", ""),
            "DescriptionSrc": about.get("description_src", "meta"),
            "OriginalName": "",
            "Details": {"Keywords": about.get("keywords", ""), "KeywordsSrc": "meta"},
            "Albums": [{"Title": title, "Type": "album"} for title in about.get("albums", ())]
            + [{"Title": "December 2026", "Type": "month"}],
            "Files": [
                {
                    "Name": f"2026/{name}",
                    "Hash": sha1(photo.id.encode()).hexdigest(),
                    "Primary": True,
                    "Markers": markers,
                }
            ],
            "Labels": labels,
        }

    def _saved(self, photo):
        """`SaveLabels`: words of labels become keywords; a title that is nobody's is made of the surest label."""
        sure = sorted(
            (each for each in photo.labels.items() if each[1][1] < 100), key=lambda each: (each[1][1], each[0])
        )
        names = [self.labels[id] for id, _ in sure]
        keywords = set(words(photo.about.get("keywords", ""))) | {word for name in names for word in words(name)}
        photo.about["keywords"] = ", ".join(sorted(keywords))
        if not photo.about.get("title_src"):
            photo.about["title"] = names[0] if names else "Unknown"
        return 200, self._photo(photo)

    def do(self, operation, parts, query, body):
        if operation == "GET photos":
            start = int(query["offset"])
            photos = list(self.photos.values())[start : start + int(query["count"])]
            return 200, [{"UID": each.id, "Type": each.about.get("type", "image"), "Hash": ""} for each in photos]
        if operation == "GET t/{}/{}/fit_720":
            if parts[2] != self.token:
                return 403, NOTHING
            image = next(each.image for each in self.photos.values() if sha1(each.id.encode()).hexdigest() == parts[1])
            return 200, NOTHING if image is None else image
        photo = self.photos.get(parts[1])
        if photo is None:
            return 404, {"code": 404, "error": "Entity not found"}
        if operation == "GET photos/{}":
            return 200, self._photo(photo)
        if operation == "POST photos/{}/label":
            name = body["Name"][:160].title()
            id = next((id for id, each in self.labels.items() if slug(each) == slug(name)), len(self.labels) + 1)
            self.labels.setdefault(id, name)
            said = photo.labels.setdefault(id, ["manual", body["Uncertainty"]])
            if said[1] > body["Uncertainty"]:
                said[:] = "manual", body["Uncertainty"]
            return self._saved(photo)
        id = int(parts[3])
        if id not in photo.labels:
            return 404, {"code": 404, "error": "Record not found"}
        if photo.labels[id][0] in ("manual", "title", "subject", "keyword"):
            del photo.labels[id]
        else:
            photo.labels[id][1] = 100
        gone = self.labels[id].lower()
        photo.about["keywords"] = ", ".join(word for word in words(photo.about.get("keywords", "")) if word not in gone)
        return self._saved(photo)


def words(text: str) -> list[str]:
    return sorted({word.lower() for word in re.findall(r"[\w'-]{2,}", text)})


def slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "-".join(re.findall(r"\w+", plain.lower()))


def uuid(name: str) -> str:
    digits = sha1(name.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"


@contextmanager
def served(stub: Stub) -> Iterator[Stub]:
    """Serve a stub; what does not fit the specification is an error at the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            url = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
            path = url.path.removeprefix(stub.api)
            stub.asked.append((self.command, path))
            if fault := stub.fault(self.command, path):
                status, headers, content = fault
                return self.send(status, content, headers)
            operation = stub.operation(self.command, path)
            spec = SPECS[stub.kind].get(operation, {})
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            stub.wrong += [f"{operation} takes no {name}" for name in query if name not in spec.get("query", ())]
            body = json.loads(sent) if sent else None
            stub.checked(body, spec.get("body"), operation)
            if not stub.may(self.headers):
                return self.send(401, json.dumps({"message": "Invalid API key", "code": 401}).encode())
            with stub.lock:
                status, value = stub.do(operation, path.split("/"), query, body)
            if status == 200 and not isinstance(value, bytes):
                stub.checked(value, spec.get("response"), f"answer of {operation}")
            headers = {"X-Preview-Token": stub.token} if operation == "GET photos" and stub.kind == "photoprism" else {}
            return self.send(status, value if isinstance(value, bytes) else json.dumps(value).encode(), headers)

        def send(self, status, content, headers=()):
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that was killed
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert not stub.wrong
