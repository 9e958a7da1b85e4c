"""GPR1200 against the authors' definition, and its layout."""

import io

import numpy as np
import pytest
from clusters import normalise, signs
from colours import Eye
from PIL import Image

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.evaluation import evaluate_retrieval
from openmofi.evaluation.run import evaluate
from openmofi.plugins.benchmarks.gpr1200 import DOMAINS, list_gpr1200

CLASSES = np.repeat(np.arange(1200), 10)


QUERIES = np.arange(0, len(CLASSES), 7)
"""Those that are compared: of every class one or two."""


def authors(features):
    """The paper's protocol: all similarities of a query, sorted, AP over the class's ten, the query among them.

    The sort is stable, so that ties go by the order of the index: the official code leaves them to chance.
    """
    precisions = []
    for queries in np.split(QUERIES, range(500, len(QUERIES), 500)):
        for query, row in zip(queries, features[queries] @ features.T, strict=True):
            ranks = np.flatnonzero(CLASSES[np.argsort(-row, kind="stable")] == CLASSES[query]) + 1
            precisions.append((np.arange(1, 11) / ranks).sum() / 10)
    return np.array(precisions)


def features_of(kind, dim=512):
    draw = np.random.default_rng(0)
    if kind == "random":
        return normalise(draw.standard_normal((12_000, dim)))
    if kind == "clustered":
        centres = draw.standard_normal((1200, dim))
        return normalise(centres[CLASSES] + 2.5 * draw.standard_normal((12_000, dim)))
    # Few distinct values: products are exact in float32, and nearly all scores tie.
    return np.pad(signs(12_000), ((0, 0), (0, dim - 16)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random", "clustered", "tied"])
def test_it_is_the_authors_figure(kind):
    features = features_of(kind)
    found = evaluate_retrieval(features, CLASSES, resamples=10)
    np.testing.assert_allclose(found.ap_incl_query[QUERIES], authors(features), atol=1e-9 if kind == "tied" else 1e-6)
    assert found.map_incl_query == pytest.approx(found.ap_incl_query.mean(), abs=1e-9)
    if kind == "tied":
        assert len(np.unique(features[:200] @ features[0])) < 20


def write(folder, broken=()):
    folder.mkdir()
    for number in range(1200):
        for one in range(10):
            out = io.BytesIO()
            colours = np.random.default_rng(number).integers(0, 256, (2, 2, 3))
            noise = np.random.default_rng([number, one]).normal(0, 30, (2, 2, 3))
            Image.fromarray(np.clip(colours + noise, 0, 255).astype(np.uint8)).save(out, "PNG")
            data = b"broken" if (number, one) in broken else out.getvalue()
            (folder / f"{number}_{one}.png").write_bytes(data)


@pytest.mark.slow
def test_the_published_layout(tmp_path):
    write(tmp_path / "images", broken={(7, 3)})
    found = evaluate("gpr1200", Eye(), tmp_path, tmp_path / "cache", Quiet(), choice="backbone", failures=3)
    result = found.result
    assert result.counts == {"images": 11_999, "classes": 1200, "queries_without_positives": 0, "excluded": 1}
    assert result.excluded == {"7_3.png": "image_broken"}
    assert result.facts == {"as_published": False}
    assert {f"gpr1200/{domain}/map_incl_query" for domain in DOMAINS} < set(result.metrics)
    parts = np.array(found.items["part"].to_pylist())
    assert [int((parts == domain).sum()) for domain in DOMAINS] == [1999, 2000, 2000, 2000, 2000, 2000]
    assert dict.fromkeys(parts.tolist()) == dict.fromkeys(DOMAINS)
    incl = found.items["map_incl_query"].to_numpy()
    assert result.metrics["gpr1200/map_incl_query"] == pytest.approx(incl.mean())
    assert result.metrics["gpr1200/sop/map_incl_query"] == pytest.approx(incl[parts == "sop"].mean())
    assert result.metrics["gpr1200/map_incl_query"] > result.metrics["gpr1200/map_excl_query"] > 0.3
    assert len(found.failures) == 3
    # The official order is by number: class 2 comes before class 10, and 200 and up are the next domain.
    items = found.items["item"].to_pylist()
    assert items[19:21] == ["1_9.png", "2_0.png"]
    assert parts[items.index("199_0.png")] == "landmarks"
    assert parts[items.index("200_0.png")] == "inat"


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_wrong_counts_are_refused(tmp_path):
    with pytest.raises(OpenMofiError, match="has 2 classes in 3 images; GPR1200 has 1,200 classes of 10"):
        list_gpr1200(touch(tmp_path / "a", "0_a.jpg", "0_b.jpg", "1_c.jpg", "readme.txt"))
    with pytest.raises(OpenMofiError, match=r"cat.jpg has no class in its name"):
        list_gpr1200(touch(tmp_path / "b", "cat.jpg"))
    all_but_one = [f"{number}_{one}.jpg" for number in range(1200) for one in range(10)][:-1]
    with pytest.raises(OpenMofiError, match=r"1 classes of .* do not have 10 images, e.g. class 1199 has 9"):
        list_gpr1200(touch(tmp_path / "c", *all_but_one))
    with pytest.raises(OpenMofiError, match="nowhere is not a folder"):
        list_gpr1200(tmp_path / "nowhere")
