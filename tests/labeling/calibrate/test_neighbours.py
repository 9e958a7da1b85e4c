import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from openmofi.errors import OpenMofiError
from openmofi.labeling.calibrate.neighbours import FEWEST, MOST, Gallery, Space, counted, greatest, hashed_words

WORDS = [f"{first}{second}" for first in "bcdfghjkl" for second in ("a", "e", "i", "o", "u")]


def world(clusters=8, size=60, seed=0):
    """Images in clusters; each text names its cluster's entity, and has words of its own."""
    draw = np.random.default_rng(seed)
    centre = draw.standard_normal((clusters, 12)) * 4
    cluster = np.repeat(np.arange(clusters), size)
    features = centre[cluster] + draw.standard_normal((len(cluster), 12))
    texts = [" ".join(draw.choice(WORDS, 4, replace=False)) for _ in cluster]
    return features.astype(np.float32), texts, cluster


def gallery_of(features, texts, cluster, weight=None):
    ids = [f"e{number}" for number in range(int(cluster.max()) + 1)]
    weight = np.ones(len(cluster)) if weight is None else weight
    space = Space.of(features)
    return Gallery.of(
        space, space.project(features).astype(np.float16), texts, ids, np.arange(len(cluster)), cluster, weight
    )


def own(gallery, features):
    return gallery.nearest(gallery.space.project(features), gallery.words, np.arange(len(features)))


def test_neighbours_are_those_of_the_nearest_search():
    from sklearn.neighbors import NearestNeighbors

    features, texts, cluster = world()
    gallery = gallery_of(features, texts, cluster)
    nearest = gallery.nearest(gallery.space.project(features[:20] + 0.5), hashed_words([""] * 20))
    count = nearest.sum(axis=1)
    assert (count == len(cluster) // 40).all()
    vectors = gallery.space.project(features).astype(np.float16).astype(np.float32)
    search = NearestNeighbors(n_neighbors=int(count[0]), metric="cosine").fit(vectors)
    expected = search.kneighbors(gallery.space.project(features[:20] + 0.5), return_distance=False)
    for row, places in enumerate(expected):
        assert set(places) == set(nearest[[row]].indices)


def test_votes_are_the_logarithm_of_the_votes_by_what_is_expected():
    features, texts, cluster = world()
    weight = np.random.default_rng(1).random(len(cluster))
    gallery = gallery_of(features, texts, cluster, weight)
    nearest = own(gallery, features)
    found = gallery.votes(nearest, np.arange(len(cluster)), cluster)
    for row in range(0, len(cluster), 37):
        near = nearest[[row]].indices
        given_votes = weight[near][cluster[near] == cluster[row]].sum()
        expected = weight[cluster == cluster[row]].sum() / len(cluster) * len(near)
        assert found[row] == pytest.approx(np.log((given_votes + 1) / (expected + 1)), rel=1e-5)
    others = gallery.votes(nearest, np.arange(len(cluster)), (cluster + 3) % 8)
    assert found.min() > others.max()


def test_an_image_is_no_witness_for_itself_nor_for_its_copy():
    features, texts, cluster = world()
    features[1] = features[0]
    nearest = own(gallery_of(features, texts, cluster), features)
    assert nearest.diagonal().max() == 0
    assert nearest[0, 1] == nearest[1, 0] == 0


def test_a_text_that_shares_most_of_its_words_is_no_witness():
    features, texts, cluster = world()
    texts = [
        f"part of the flat collection computer {text.split()[0]}" if number % 2 else text
        for number, text in enumerate(texts)
    ]
    nearest = own(gallery_of(features, texts, cluster), features).toarray()
    assert nearest[1::2, 1::2].max() == 0
    assert nearest[1::2, 0::2].sum(axis=1).min() == len(cluster) // 40
    assert nearest[0::2, 1::2].max() == 1


def test_one_shared_word_is_what_both_name():
    features, _, cluster = world()
    nearest = own(gallery_of(features, ["apple"] * len(cluster), cluster), features)
    assert (nearest.sum(axis=1) == len(cluster) // 40).all()


def test_a_decoys_own_pair_does_not_vote():
    features, texts, cluster = world()
    gallery = gallery_of(features, texts, cluster)
    nearest = own(gallery, features)
    row = np.zeros(1, np.int64)
    witness = nearest[[0]].indices[:1].astype(np.int64)
    votes = [gallery.votes(nearest, row, cluster[witness], *without)[0] for without in ((), (witness,))]
    expected = np.log((cluster == cluster[witness[0]]).mean() * nearest[[0]].sum() + 1)
    assert np.exp(votes[0] + expected) - np.exp(votes[1] + expected) == pytest.approx(1.0, rel=1e-5)


def test_an_entity_that_no_witness_names_has_no_votes():
    features, texts, cluster = world()
    gallery = gallery_of(features, texts, cluster)
    places = gallery.places(pa.array(["e3", "unknown", "e0"]))
    assert places.tolist() == [3, -1, 0]
    assert gallery.votes(own(gallery, features), np.array([5]), np.array([-1])).tolist() == [0.0]


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("size", [3, 300])
def test_a_space_of_few_images_is_finite(rows, size):
    features = np.random.default_rng(0).standard_normal((rows, size))
    projected = Space.of(features).project(np.ones((4, size), np.float32))
    assert np.isfinite(projected).all()
    assert projected.shape == (4, min(size, 256))


def test_witnesses_of_other_entities_vote_the_same():
    features, texts, cluster = world()
    gallery = gallery_of(features, texts, cluster, np.linspace(0, 1, len(cluster)))
    other = gallery.naming(["e3", "e0", "unknown"])
    row, nearest = np.arange(len(features)), own(gallery, features)
    for place, name in enumerate(["e3", "e0"]):
        entity = np.full(len(row), int(name[1:]))
        np.testing.assert_allclose(
            other.votes(nearest, row, np.full(len(row), place)), gallery.votes(nearest, row, entity), rtol=1e-6
        )
    assert not other.votes(nearest, row, np.full(len(row), 2)).any()


def test_what_is_kept_votes_the_same(tmp_path):
    features, texts, cluster = world()
    gallery = gallery_of(features, texts, cluster, np.linspace(0, 1, len(cluster)))
    gallery.save(tmp_path / "gallery.npz")
    gallery.save(tmp_path / "again.npz")
    assert (tmp_path / "gallery.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    back = Gallery.load(tmp_path / "gallery.npz")
    new, row = features[::7] + 0.3, np.arange(len(features[::7]))
    words = hashed_words([""] * len(new))
    found = [each.votes(each.nearest(each.space.project(new), words), row, cluster[::7]) for each in (gallery, back)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("keep", [0, 10, 1000, -30])
def test_a_damaged_gallery_is_one_sentence(tmp_path, keep):
    features, texts, cluster = world()
    gallery_of(features, texts, cluster).save(tmp_path / "gallery.npz")
    content = (tmp_path / "gallery.npz").read_bytes()
    (tmp_path / "gallery.npz").write_bytes(content[:keep])
    with pytest.raises(OpenMofiError, match=r"gallery\.npz cannot be read, or is damaged"):
        Gallery.load(tmp_path / "gallery.npz")


@pytest.mark.parametrize(("rows", "size"), [(60, 300), (280, 300), (300, 300), (900, 300), (400, 20)])
def test_axes_are_the_principal_components(rows, size):
    """Of fewer images than directions too, which are found in another way; of 256 they are the greatest."""
    features = np.random.default_rng(1).standard_normal((rows, size)) * np.geomspace(10, 0.1, size) + 3.0
    space, kept = Space.of(features), min(rows - 1, size, 256)
    oracle = PCA(kept, svd_solver="full").fit(features)
    deviation = np.sqrt(oracle.explained_variance_ * (rows - 1) / rows)
    expected = oracle.components_ / (deviation + 1e-3 * deviation[0])[:, None]
    axes = space.axes[:, :kept].T
    cosine = (axes * expected).sum(1) / np.linalg.norm(axes, axis=1) / np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(np.abs(cosine), 1.0, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), np.linalg.norm(expected, axis=1), rtol=1e-3)


def test_whitened_space_has_no_favoured_direction():
    draw = np.random.default_rng(0)
    features = draw.standard_normal((4000, 6)) * [100.0, 10.0, 1.0, 1.0, 5.0, 50.0] + 7.0
    whitened = (features - Space.of(features).mean) @ Space.of(features).axes
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(6), atol=0.2)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 8), st.booleans())
def test_any_gallery_gives_finite_votes_and_no_more_neighbours_than_it_has(pairs, features, equal):
    draw = np.random.default_rng(pairs)
    images = np.ones((pairs, features)) if equal else draw.standard_normal((pairs, features))
    space = Space.of(images)
    gallery = Gallery.of(
        space,
        space.project(images).astype(np.float16),
        ["a b c"] * pairs,
        ["x", "y"],
        np.arange(pairs),
        np.arange(pairs) % 2,
        np.ones(pairs),
    )
    nearest = own(gallery, images)
    assert nearest.sum(axis=1).max() <= min(max(FEWEST, pairs // 40), MOST, pairs - 1)
    assert np.isfinite(gallery.votes(nearest, np.arange(pairs), np.arange(pairs) % 2)).all()


def test_a_witness_of_several_candidates_has_one_vote():
    features, texts, cluster = world(2, 60)
    ids, pair = ["shown", "companion"], np.arange(120)
    space = Space.of(features)
    both = np.concatenate([pair, pair[cluster == 0][::2]])
    entity = np.concatenate([cluster * 0, np.ones(30, np.int64)])
    gallery = Gallery.of(space, space.project(features).astype(np.float16), texts, ids, both, entity, np.ones(150))
    nearest = own(gallery, features)
    row, named = np.array([0, 0]), np.array([0, 1])
    split = gallery.split(nearest, row, named)
    near = nearest[[0]].indices
    twice = np.isin(near, pair[cluster == 0][::2])
    np.testing.assert_allclose(split[[0]].data[np.argsort(near)], np.where(twice, 0.5, 1.0)[np.argsort(near)])
    # Another image names the one entity alone: nobody's vote is split for it.
    assert gallery.split(nearest, np.array([1]), np.array([0]))[[1]].data.tolist() == [1.0] * len(nearest[[1]].indices)


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.integers(1, 40), st.data())
@settings(derandomize=True, deadline=None)
def test_the_greatest_are_those_of_a_stable_sort(width, seed, levels, data):
    """Also where many values are equal, and where a row is cut into groups."""
    count = data.draw(st.integers(1, width))
    draw = np.random.default_rng(seed)
    values = (draw.integers(0, levels, (5, width)) / np.float32(levels)).astype(np.float32)
    assert greatest(values, count).tolist() == np.argsort(-values, axis=1, kind="stable")[:, :count].tolist()


@pytest.mark.parametrize("width", [799, 8000, 8191])
def test_the_greatest_of_long_rows(width):
    values = np.random.default_rng(0).integers(0, 3000, (7, width)).astype(np.float32)
    values[3] = 1.0
    values[4] = np.nan
    assert greatest(values, 50).tolist() == np.argsort(-values, axis=1, kind="stable")[:, :50].tolist()
    assert greatest(values[:0], 50).shape == (0, 50)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-4, 3)), max_size=20))
def test_votes_for_what_is_seldom_shown_only_count_against_it(rows):
    votes, log_odds = (np.array([row[side] for row in rows]) for side in (0, 1))
    found = counted(votes, log_odds)
    expected = [min(vote, 0.0) if odds < -0.7 else vote for vote, odds in rows]
    assert found.tolist() == expected
