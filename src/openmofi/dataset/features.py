"""The features of labelled images, as the label job kept them."""

from collections.abc import Iterator

from openmofi.dataset.collect import Collected
from openmofi.dataset.origin import Origin
from openmofi.dataset.tables import Folder
from openmofi.encoders import Encoder
from openmofi.errors import OpenMofiError
from openmofi.features.images import ImageSource, compute_features, shard_source
from openmofi.features.store import FeatureStore, StoredFeatures
from openmofi.storage import Shard


def labelled_shards(source: Folder, collected: Collected) -> Iterator[tuple[Shard, int, int]]:
    """Each shard that has labelled images, and the numbers of the first and past the last of them."""
    for shard, low, high in zip(
        source.shards, collected.starts[:-1].tolist(), collected.starts[1:].tolist(), strict=True
    ):
        if high > low:
            yield shard, low, high


def labels_store(source: Folder, encoder: Encoder) -> FeatureStore:
    """The store of the label job's features, as `encoder` gives them.

    Raises:
        OpenMofiError: the labels do not say how theirs were made.
    """
    store = FeatureStore.noted(source.path, encoder)
    if store is None:
        raise OpenMofiError(
            f"{source.path} does not say how its features were made.",
            "Compare hashes alone: --exclude-cosine off, and no --semantic-duplicates.",
        )
    return store


def labelled_features(source: Folder, shard: Shard, store: FeatureStore) -> StoredFeatures:
    """The features of a shard as it was labelled; what is missing in the store is computed.

    Raises:
        OpenMofiError: the shard has changed since, or cannot be read.
    """
    labelled = source.manifest.inputs.get(shard.name, "")
    if labelled and store.has(shard.name, labelled):
        return store.open(shard.name, labelled)
    Origin(labelled).require_same(shard, shard.fingerprint)
    return computed(shard_source(shard, store.read, as_labelled=True), store)


def computed(source: ImageSource, store: FeatureStore) -> StoredFeatures:
    """The features of images; what is missing in the store is computed."""
    if not store.has(source.name, source.stamp):
        compute_features(source, store)
    return store.open(source.name, source.stamp)
