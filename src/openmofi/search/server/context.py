"""What the routes of one server share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from starlette.requests import Request

from openmofi.search.index import Index
from openmofi.search.records import ImageRecord
from openmofi.search.server.batching import EncoderQueue
from openmofi.search.server.errors import Refused
from openmofi.search.server.observe import Metrics
from openmofi.search.server.settings import ServeSettings
from openmofi.search.server.uploads import Uploads


@dataclass(frozen=True)
class Context:
    """What the routes of one server share.

    Attributes:
        index: that is served.
        settings: of the server.
        metrics: of the server.
        uploads: of its clients.
        encoder: the queue before the index's encoder.
        session: value of the cookie of those who have shown the token.
    """

    index: Index
    settings: ServeSettings
    metrics: Metrics
    uploads: Uploads
    encoder: EncoderQueue
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @classmethod
    def of(cls, index: Index, settings: ServeSettings) -> Context:
        """Of a server that is to begin."""
        metrics = Metrics()
        return cls(index, settings, metrics, Uploads(settings.max_upload_pixels),
                   EncoderQueue(index, settings.batch, settings.wait, metrics.batches.observe))

    def image(self, image: int) -> ImageRecord:
        """An image by its id.

        Raises:
            Refused: there is none (404).
        """
        records = self.index.images([image])
        if not records:
            raise Refused(404, f"The index has no image {image}.", "It may have been removed.")
        return records[0]


def context_of(request: Request) -> Context:
    """A dependency of routes."""
    context: Context = request.app.state.context
    return context
