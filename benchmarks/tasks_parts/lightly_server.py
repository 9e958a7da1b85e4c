"""LightlyStudio over a FOLDER that `lightly.py` has written, at a PORT; run by the Python that has it."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import lightly_studio
import numpy as np
from lightly_studio import ImageDataset
from lightly_studio.api import features
from lightly_studio.core.annotation import CreateClassification
from lightly_studio.database import db_manager
from lightly_studio.embed.public_api import register_default_embedder
from lightly_studio.models.caption import CaptionCreate
from lightly_studio.resolvers import annotation_resolver, caption_resolver
from lightly_studio_serve.embedder import ImageBytesEmbedder, ImagePathEmbedder
from lightly_studio_serve.types import EmbeddingResult, EmbeddingSpaceSpec


class Known(ImagePathEmbedder, ImageBytesEmbedder):
    """An embedder that has the index's vector of each image, by the bytes of its file."""

    def __init__(self, folder: Path) -> None:
        self.vectors = np.load(folder / "vectors.npy")
        files = sorted((folder / "images").iterdir())
        self.rows = {hashlib.sha256(file.read_bytes()).digest(): row for row, file in enumerate(files)}

    def embedding_space_spec(self) -> EmbeddingSpaceSpec:
        """See `Embedder`."""
        return EmbeddingSpaceSpec("openmofi", self.vectors.shape[1])

    def embed_images(self, paths: list[str]) -> EmbeddingResult:
        """See `ImagePathEmbedder`."""
        return self.embed_image_bytes([Path(path).read_bytes() for path in paths])

    def embed_image_bytes(self, images: list[bytes]) -> EmbeddingResult:
        """See `ImageBytesEmbedder`."""
        rows = [self.rows[hashlib.sha256(image).digest()] for image in images]
        return EmbeddingResult(self.vectors[rows], list(range(len(rows))))


def main(folder: Path, port: int) -> None:
    """Read the folder, with labels and types as annotation classes of two sources, and serve it without its tour."""
    features.lightly_studio_active_features.remove(features.ONBOARDING_FEATURE)
    db_manager.connect(db_file=str(folder / "studio.db"))
    register_default_embedder(Known(folder))
    dataset = ImageDataset.create("demo")
    dataset.add_images_from_path(str(folder / "images"))
    rows = json.loads((folder / "rows.json").read_text())
    _describe(dataset, [(sample.sample_id, rows[sample.file_name]) for sample in dataset])
    lightly_studio.start_gui(host="127.0.0.1", port=port, open_browser=False)


def _describe(dataset: ImageDataset, described: Sequence[tuple[UUID, Mapping[str, str]]]) -> None:
    """Labels and types as annotation classes of two sources; texts as captions; texts and files as metadata.

    At once, below the public functions, which take half a minute for a hundred images.
    """
    session, collection = dataset.session, dataset.collection_id
    for source in ("label", "type"):
        made = [
            CreateClassification(class_name=row[source]).to_annotation_create(session, dataset.dataset_id, sample)
            for sample, row in described
            if row[source]
        ]
        annotation_resolver.create_many(session, collection, made, source)
    captions = [CaptionCreate(parent_sample_id=sample, text=row["text"]) for sample, row in described]
    caption_resolver.create_many(session, collection, captions)
    dataset.update_metadata([(sample, {"text": row["text"], "file": row["file"]}) for sample, row in described])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
