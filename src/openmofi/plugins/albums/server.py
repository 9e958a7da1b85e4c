"""What immich and PhotoPrism have in common: a key, replies that are none, previews, changes that can be taken back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct

from openmofi.errors import OpenMofiError
from openmofi.pairs import ImageRefused
from openmofi.pairs.images.decode import image_size
from openmofi.plugins.json_server import JsonServer, Reply, looked_up
from openmofi.storage import parse_json

KEY = "OPENMOFI_ALBUMS_KEY"
ROOT = "OpenMOFI"
"""The tag that ours lie below."""
PAGE = 250
"""Images that are listed by a request."""
MOST_BYTES = 32 << 20
"""Of a response."""
MOST_PREVIEW = 4 << 20
"""Bytes of a preview, which has less than one MiB; a shard of them is in memory."""
ID = r"^[0-9A-Za-z-]{1,64}\Z"
Id = Annotated[str, Meta(pattern=ID)]
"""Identifiers stand in paths of requests."""
_LOST = frozenset({400, 404, 410, 415, 422})
_NO_IMAGE = frozenset({404, 410, 415})
"""Statuses of one preview, whoever says so: a server of files says it without JSON."""
_LATER = "Start the same command again later: it continues where it stopped."
T = TypeVar("T")


class Lost(OpenMofiError):
    """There is no such photo, tag or preview."""


class Op(Struct, omit_defaults=True):
    """A tag that a photo gets.

    Attributes:
        name: of the tag; in immich its whole path.
        id: of the tag, where it is known.
        percent: PhotoPrism's uncertainty of it, 0 to 100.
        before: PhotoPrism's labels that the photo had.
    """

    name: str
    id: Annotated[str, Meta(pattern=r"^[0-9A-Za-z-]{0,64}\Z")] = ""
    percent: int = 0
    before: list[int] = []


@dataclass
class PhotoServer(JsonServer):
    """A photo server; see `JsonServer`.

    Attributes:
        key: the secret, which no error repeats.
        token: another, of the server's own, in the addresses of previews.
    """

    key: str = field(default="", repr=False, kw_only=True)
    token: str = field(default="", repr=False, kw_only=True)

    def reply(
        self,
        method: str,
        path: str,
        body: Any = None,
        lost: frozenset[int] = _LOST,
        surely: frozenset[int] = frozenset(),
    ) -> Reply:
        """Return a successful response.

        Raises:
            Lost: it has one of the statuses `lost`, and the server itself says so, in JSON; or one of `surely`.
            OpenMofiError: there is none.
        """
        response = self.send(method, path, body)
        if response.is_success:
            return response
        hint, status = _LATER, response.status_code
        gone = status in surely or (status in lost and isinstance(looked_up(response), dict))
        if 300 <= status < 400:
            hint = "It redirects, and the key is for this address alone: give the address that it redirects to."
        elif status in (401, 403):
            hint = f"Put a key with the permissions of docs/guides/photos.md into {KEY}."
        elif status in lost:
            hint = "Check the address; immich or photoprism before it says which kind of server it is."
        said = self.refusal(response, hint).message
        for secret in filter(None, (self.key, self.token)):
            said = said.replace(secret, "…")
        raise (Lost if gone else OpenMofiError)(said.rstrip(".") + ".", hint)

    def answer(self, method: str, path: str, kind: type[T], body: Any = None) -> T:
        """Return a response's JSON.

        Raises:
            Lost, OpenMofiError: as `reply`, or it is something else.
        """
        return self.parsed(self.reply(method, path, body), kind)

    def photo(self, path: str, kind: type[T]) -> T:
        """Return what the server knows of a photo.

        Raises:
            Lost: there is no such photo, or what is known of it has another form.
            OpenMofiError: as `answer`.
        """
        response = self.reply("GET", path)
        try:
            return self.parsed(response, kind)
        except OpenMofiError as error:
            if isinstance(looked_up(response), dict):
                raise Lost(error.message, error.hint) from error
            raise

    def parsed(self, response: Reply, kind: type[T]) -> T:
        """See `answer`."""
        where = f"The answer of the {self.role} {self.address}"
        return parse_json(response.content, kind, where, f"Check the address and the server's version. {_LATER}")

    def image(self, path: str) -> bytes:
        """Return an image.

        Raises:
            Lost: there is none, it is something else, or larger than `MOST_PREVIEW`.
            OpenMofiError: as `reply`.
        """
        content = self.reply("GET", path, lost=_LOST | {500}, surely=_NO_IMAGE).content
        if len(content) > MOST_PREVIEW:
            raise Lost(f"The preview has {len(content):,} bytes, more than {MOST_PREVIEW:,}.")
        try:
            image_size(content)
        except ImageRefused as refused:
            raise Lost(f"The preview is not an image: {refused.why}.") from refused
        return content
