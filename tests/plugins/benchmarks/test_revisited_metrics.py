"""AP with junk against the authors' definition, ported step by step, and the protocol on a tiny set in their layout."""

import pickle
from io import BytesIO

import numpy as np
import pytest
from colours import COLOURS, Eye, drawn_image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.run import evaluate
from openmofi.plugins.benchmarks.revisited import (
    DIFFICULTIES,
    KINDS,
    Ranking,
    average_precision,
    precision_at,
    read_ground_truth,
)


def authors(ranking, ok, junk, kappas):
    """Their definition for one query: (AP, P@k); `ranking` lists the database, best first. NaN without positives."""
    if not len(ok):
        return np.nan, [np.nan] * len(kappas)
    seen_junk, pos = 0, []
    for place, image in enumerate(ranking):
        if image in junk:
            seen_junk += 1
        elif image in ok:
            pos.append(place - seen_junk)
    ap = 0.0
    for j, rank in enumerate(pos):
        precision_0 = 1.0 if rank == 0 else j / rank
        precision_1 = (j + 1) / (rank + 1)
        ap += (precision_0 + precision_1) / (2 * len(ok))
    at = []
    for k in kappas:
        kq = min(max(pos) + 1, k) if pos else 1
        at.append(sum(rank + 1 <= kq for rank in pos) / kq)
    return ap, at


def judged(ranks, difficulty):
    found, positives = ranks.positives(difficulty)
    if not positives:
        return np.nan, [np.nan] * 3
    return average_precision(found, positives), [precision_at(found, k) for k in (1, 5, 10)]


def embedded(scores):
    """A query and unit vectors with these cosines to it."""
    scores = np.asarray(scores, np.float64)
    vectors = np.stack([scores, np.sqrt(1 - scores**2)], 1).astype(np.float32)
    return np.array([[1.0, 0.0]], np.float32), vectors


def places(**kinds):
    return {kind: np.array(kinds.get(kind, []), np.int64) for kind in KINDS}


def test_hand_made_rankings():
    # The database in the order of its ranking: junk, easy, -, hard, easy.
    query, database = embedded([0.9, 0.8, 0.7, 0.6, 0.5])
    asked = [places(easy=[1, 4], hard=[3], junk=[0])]
    (ranks,) = Ranking(query, database, asked, np.arange(5)).ranks()
    # Easy: junk is 0 and 3, so the easy ones stand at 0 and 2: (1 + 1)/4 + (1/2 + 2/3)/4.
    assert judged(ranks, "easy") == (pytest.approx(0.5 + (1 / 2 + 2 / 3) / 4), [1, pytest.approx(2 / 3)] + [2 / 3])
    # Medium: junk is 0; positives at 0, 2, 3: (1+1)/6 + (1/2+2/3)/6 + (2/3+3/4)/6.
    assert judged(ranks, "medium")[0] == pytest.approx((2 + 1 / 2 + 2 / 3 + 2 / 3 + 3 / 4) / 6)
    # Hard: junk is 0, 1, 4; the hard one stands at 1, behind the one image that is neither: (0 + 1/2)/2.
    assert judged(ranks, "hard") == (pytest.approx(0.25), [0, 0.5, 0.5])


def test_queries_without_positives_are_not_counted():
    query, database = embedded([0.9, 0.8])
    (ranks,) = Ranking(query, database, [places(easy=[0], junk=[1])], np.arange(2)).ranks()
    assert np.isnan(judged(ranks, "hard")[0])
    assert judged(ranks, "easy")[0] == 1


def test_a_positive_that_cannot_be_read_is_never_found():
    query, database = embedded([0.9])
    asked = [places(easy=[0, 1])]
    (ranks,) = Ranking(query, database, asked, np.array([0, -1])).ranks()
    assert judged(ranks, "easy")[0] == 0.5
    (none,) = Ranking(query, database, asked, np.array([-1, -1])).ranks()
    assert judged(none, "easy") == (0, [0, 0, 0])


@given(data=st.data())
def test_random_rankings_equal_the_authors_definition(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    draw = np.random.default_rng(seed)
    count, queries, distractors = int(draw.integers(1, 40)), int(draw.integers(1, 4)), int(draw.integers(0, 30))
    vectors = draw.normal(size=(count + distractors + queries, 3))
    if draw.random() < 0.5:
        # Ties: cosines of exactly -1, 0 and 1. All others are told apart below.
        vectors = np.eye(3)[draw.integers(0, 3, len(vectors))] * draw.choice([-1, 1], (len(vectors), 1))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    base, asked = vectors[: count + distractors], vectors[count + distractors :]
    truth = []
    for _ in range(queries):
        kinds = draw.integers(0, 4, count)
        truth.append({kind: np.flatnonzero(kinds == n) for n, kind in enumerate(KINDS)})
    ranking = Ranking(asked, base[:count], truth, np.arange(count))
    cut = count + distractors // 2
    for part in (base[count:cut], base[cut:]):
        if len(part):
            ranking.add(part)
    order = np.argsort(-(asked @ base.T), axis=1, kind="stable")
    scores = asked @ base.T
    for number, (ranks, query) in enumerate(zip(ranking.ranks(), truth, strict=True)):
        gaps = np.diff(np.sort(scores[number]))
        if gaps[gaps > 0].min(initial=1) < 1e-6:
            continue  # blocks of another shape may round another way
        for level, (ok, junk) in DIFFICULTIES.items():
            expected = authors(
                order[number].tolist(),
                set(np.concatenate([query[k] for k in ok]).tolist()),
                set(np.concatenate([query[k] for k in junk]).tolist()),
                (1, 5, 10),
            )
            found = judged(ranks, level)
            assert found[0] == pytest.approx(expected[0], nan_ok=True)
            assert found[1] == pytest.approx(expected[1], nan_ok=True)


def write_set(folder, name="roxford5k", **changes):
    """Three queries, the left halves of images of two colours; easy, hard and junk images of each colour."""
    (folder / "jpg").mkdir(parents=True)
    imlist, gnd, qimlist = [], [], []
    for colour in COLOURS:
        for one in range(6):
            imlist.append(f"{colour}_{one}")
            Image.open(BytesIO(drawn_image(colour, one))).resize((40, 30)).save(folder / f"jpg/{colour}_{one}.jpg")
    for number, colour in enumerate(list(COLOURS)[:3]):
        both = Image.new("RGB", (80, 30), tuple(COLOURS[list(COLOURS)[3]]))
        both.paste(Image.new("RGB", (40, 30), COLOURS[colour]), (0, 0))
        both.save(folder / f"jpg/query_{colour}.jpg", quality=95)
        qimlist.append(f"query_{colour}")
        first = 6 * number
        gnd.append(
            {
                "bbx": [0.0, 0.0, 40.0, 30.0],
                "easy": np.array([first, first + 1]),
                "hard": [first + 2, first + 3],
                "junk": np.array([], np.float64) if number else np.array([first + 4, first + 5]),
            }
        )
    raw = {"imlist": imlist, "qimlist": qimlist, "gnd": gnd} | changes
    (folder / f"gnd_{name}.pkl").write_bytes(pickle.dumps(raw, 2))
    return folder


def run(data, tmp_path, **options):
    return evaluate("revisited", Eye(), data, tmp_path / "cache", Quiet(), **options)


def test_the_protocol(tmp_path):
    data = write_set(tmp_path / "roxford5k")
    found = run(data, tmp_path, failures=2)
    result = found.result
    assert result.headline == "revisited/map_medium"
    assert result.data["dataset"] == "roxford5k"
    assert result.counts == {
        "images": 24,
        "queries": 3,
        "distractors": 0,
        "queries_without_easy": 0,
        "queries_without_medium": 0,
        "queries_without_hard": 0,
        "excluded": 0,
    }
    assert set(result.metrics) == {
        f"revisited/{name}_{level}" for level in DIFFICULTIES for name in ("map", "mp_at_1", "mp_at_5", "mp_at_10")
    }
    eye, truth = Eye(), read_ground_truth(data / "gnd_roxford5k.pkl")

    def embed(images):
        return eye.project_images(eye.image_features(np.stack([eye.preprocess(image) for image in images])))

    queries = embed(
        [Image.open(data / f"jpg/{query.name}.jpg").convert("RGB").crop((0, 0, 40, 30)) for query in truth.queries]
    )
    base = embed([Image.open(data / f"jpg/{name}.jpg").convert("RGB") for name in truth.database])
    order = np.argsort(-(queries @ base.T), axis=1, kind="stable")
    for level, (ok, junk) in DIFFICULTIES.items():
        expected = [
            authors(
                order[row].tolist(),
                {int(at) for kind in ok for at in query.positions[kind]},
                {int(at) for kind in junk for at in query.positions[kind]},
                (1, 5, 10),
            )
            for row, query in enumerate(truth.queries)
        ]
        assert result.metrics[f"revisited/map_{level}"] == pytest.approx(np.mean([ap for ap, _ in expected]))
        for place, k in enumerate((1, 5, 10)):
            assert result.metrics[f"revisited/mp_at_{k}_{level}"] == pytest.approx(
                np.mean([at[place] for _, at in expected])
            )
    assert result.metrics["revisited/mp_at_1_easy"] == 1  # without the crop, queries would be of mixed colour
    assert [case.name for case in found.failures] == [
        name.split("-", 1)[1]
        for name in np.array(found.items["item"].to_pylist())[
            np.argsort(found.items["map_medium"].to_numpy(), kind="stable")[:2]
        ]
    ]


def test_distractors_are_streamed(tmp_path, monkeypatch):
    data, more = write_set(tmp_path / "rparis6k", "rparis6k"), tmp_path / "more/jpg/a"
    more.mkdir(parents=True)
    for colour in COLOURS:
        for one in range(5):
            (more / f"{colour}{one}.png").write_bytes(drawn_image(colour, 50 + one, 5))
    (more / "broken.png").write_bytes(b"no image")
    monkeypatch.setattr("openmofi.features.images.FILES_PER_SOURCE", 7)
    alone = run(data, tmp_path).result
    found = run(data, tmp_path, overrides=[f"distractors={tmp_path / 'more'}"]).result
    assert found.counts["distractors"] == 20
    assert found.excluded == {"a/broken.png": "image_broken"}
    assert found.metrics["revisited/map_medium"] < alone.metrics["revisited/map_medium"]
    assert found.data["fingerprint"] != alone.data["fingerprint"]
    monkeypatch.setattr("openmofi.features.images.FILES_PER_SOURCE", 3)
    assert run(data, tmp_path, overrides=[f"distractors={tmp_path / 'more'}"]).result.metrics == found.metrics


def test_unreadable_images(tmp_path):
    data = write_set(tmp_path / "set")
    (data / "jpg/blue_0.jpg").write_bytes(b"no image")
    (data / "jpg/query_red.jpg").write_bytes(b"no image")
    found = run(data, tmp_path).result
    assert found.excluded == {"blue_0.jpg": "image_broken", "2-query_red": "image_broken"}
    assert found.counts["queries"] == 2
    assert found.metrics["revisited/map_easy"] < 1


def test_faults_are_one_sentence(tmp_path):
    with pytest.raises(OpenMofiError, match=r"no ground truth gnd_roxford5k.pkl or gnd_rparis6k.pkl"):
        run(tmp_path, tmp_path)
    data = write_set(tmp_path / "set")
    (data / "jpg/blue_1.jpg").unlink()
    with pytest.raises(OpenMofiError, match=r"1 of 27 images are not in .*blue_1\.jpg"):
        run(data, tmp_path)
    with pytest.raises(UsageError, match="precision_at"):
        run(data, tmp_path, overrides=["precision_at=0"])
    with pytest.raises(OpenMofiError, match="is not a folder"):
        run(write_set(tmp_path / "other"), tmp_path, overrides=[f"distractors={tmp_path / 'none'}"])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"imlist": ["../../etc/passwd"]}, "outside the folder"),
        ({"qimlist": ["a"]}, "1 queries with 3 answers"),
        ({"gnd": [{"bbx": [0, 0, 0, 9], "easy": [], "hard": [], "junk": []}] * 3}, "is empty"),
        ({"gnd": [{"bbx": [0, 0, 9, 9], "easy": [99], "hard": [], "junk": []}] * 3}, "beyond the 24"),
        ({"gnd": [{"bbx": [0, 0, 9, 9]}] * 3}, "easy"),
    ],
)
def test_ground_truth_that_is_none(tmp_path, changes, match):
    data = write_set(tmp_path / "set", **changes)
    with pytest.raises(OpenMofiError, match=match):
        read_ground_truth(data / "gnd_roxford5k.pkl")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    data = write_set(tmp_path / "set", imlist=Attack())
    with pytest.raises(OpenMofiError, match=r"is refused: it asks for (_?io|builtins)\.open"):
        run(data, tmp_path)
    assert not (tmp_path / "ran").exists()
