"""The map of a collection: alike images lie together, the same index gives the same map, and what has none says so."""

import sys

import numpy as np
import pytest
from search_world import COLOURS, colour_encoder, write_images
from served_world import labelled_index
from sklearn.manifold import trustworthiness

from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.plugins.map import tsne
from openmofi.plugins.map.tsne import areas_of, placed
from openmofi.search import Index, build


def colours_of(index, images):
    return [image.key.partition("-")[0] for image in index.images(images.tolist())]


def test_images_that_are_alike_lie_together(tmp_path):
    index = labelled_index(tmp_path, each=8)
    assert len(index.map().images) == 0
    assert index.make_map().changed == 48
    plane = index.map()
    assert (plane.images.tolist(), plane.missing) == (index.vectors()[0].tolist(), 0)
    assert np.abs(plane.places).max() == pytest.approx(1)
    colours = np.array(colours_of(index, plane.images))
    for colour in COLOURS:
        own = plane.places[colours == colour]
        centre = own.mean(0)
        inside = np.linalg.norm(own - centre, axis=1).max()
        others = np.linalg.norm(plane.places[colours != colour] - centre, axis=1).min()
        assert inside < others, colour
    # An oracle: how well neighbours in the plane are neighbours among the vectors.
    assert trustworthiness(index.vectors()[1], plane.places, n_neighbors=5) > 0.9
    sizes = np.bincount(plane.areas)
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)


def test_the_same_index_gives_the_same_map_whatever_the_segments(tmp_path):
    index = labelled_index(tmp_path)
    index.make_map()
    first = index.map()
    index.compact()
    index.make_map()
    for name in ("images", "places", "areas"):
        np.testing.assert_array_equal(getattr(index.map(), name), getattr(first, name))


def test_removed_images_leave_the_map_and_new_ones_are_counted(tmp_path):
    index = labelled_index(tmp_path)
    index.make_map()
    index.remove([str(tmp_path / "images/red-0.png")])
    build([str(write_images(tmp_path / "more", 2, ("blue",)))], colour_encoder(), index.path)
    plane = Index.open(index.path).map()
    assert (len(plane.images), plane.missing) == (29, 2)
    assert "red-0" not in [image.key for image in index.images(plane.images.tolist())]


def test_too_few_images_and_a_missing_package_are_sentences(tmp_path, monkeypatch):
    build([str(write_images(tmp_path / "images", 3, ("red", "blue", "green")))], colour_encoder(), tmp_path / "index")
    index = Index.open(tmp_path / "index", colour_encoder())
    with pytest.raises(OpenMofiError, match="has 9 images with vectors, and a map takes 10 or more"):
        index.make_map()
    build([str(write_images(tmp_path / "more", 1, ("grey",)))], colour_encoder(), tmp_path / "index")
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(MissingExtraError, match="openTSNE"):
        index.make_map()
    monkeypatch.undo()
    assert index.make_map().changed == 10


@pytest.mark.parametrize(
    "vectors",
    [
        np.tile(np.array([[1.0, 0.0, 0.0]], np.float32), (12, 1)),
        np.repeat(np.eye(2, dtype=np.float32), 6, axis=0),
        np.ones((20, 1), np.float32),
    ],
)
def test_images_that_are_all_the_same_have_places(vectors):
    places = placed(vectors, 0)
    assert np.isfinite(places).all()
    assert np.abs(places).max() <= 1
    assert areas_of(places, 0).min() == 0


def test_of_a_large_collection_the_rest_lies_by_its_neighbours(monkeypatch):
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(4, 16))
    group = draw.integers(0, 4, 400)
    vectors = (centres[group] + draw.normal(scale=0.1, size=(400, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    monkeypatch.setattr(tsne, "MOST", 200)
    places = placed(vectors, 0)
    np.testing.assert_array_equal(places, placed(vectors, 0))
    means = np.stack([places[group == each].mean(0) for each in range(4)])
    nearest = np.linalg.norm(places[:, None] - means, axis=2).argmin(1)
    assert (nearest == group).mean() > 0.98
