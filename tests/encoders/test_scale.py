"""The fitted logit scale: of cosines drawn with a known one, and of embeddings."""

import numpy as np
import pytest
from scipy.optimize import brute

from openmofi.encoders.probe import batched_cosines, best_scale, contrastive_cross_entropy, fit_scale


def cosines_of_scale(scale: float, batches: int, batch: int, spread: float = 0.06) -> np.ndarray:
    """Cosines for which softmax(scale · cosines) is the true posterior of the pair, by rows and by columns.

    Others are N(0, σ²), true pairs N(scale · σ², σ²): the ratio of the two densities is exp(scale · cosine) but for a
    constant.
    """
    draw = np.random.default_rng(0)
    cosines = draw.normal(0, spread, (batches, batch, batch))
    rows = np.arange(batch)
    cosines[:, rows, rows] += scale * spread**2
    return cosines


@pytest.mark.parametrize("scale", [8.0, 25.0, 60.0])
def test_it_finds_the_scale_that_the_data_were_drawn_with(scale):
    cosines = cosines_of_scale(scale, 60, 64)
    fitted, loss = best_scale(cosines)
    assert fitted == pytest.approx(scale, rel=0.08)
    assert loss < min(contrastive_cross_entropy(cosines, fitted * factor) for factor in (0.9, 1.1))


def test_it_is_the_optimum_of_a_grid():
    cosines = cosines_of_scale(20.0, 4, 32)
    grid = float(brute(lambda s: contrastive_cross_entropy(cosines, float(s[0])), (slice(1, 100, 0.05),), finish=None))
    assert best_scale(cosines)[0] == pytest.approx(grid, abs=0.06)


def test_batches_hold_pairs_on_their_diagonal():
    image = np.random.default_rng(0).standard_normal((70, 8)).astype(np.float32)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    cosines = batched_cosines(image, image, 32, 0)
    assert cosines.shape == (2, 32, 32)
    assert np.allclose(np.diagonal(cosines, axis1=1, axis2=2), 1, atol=1e-6)


def test_embeddings_are_fitted_in_batches():
    draw = np.random.default_rng(1)
    images = draw.standard_normal((150, 16)).astype(np.float32)
    texts = images + draw.standard_normal(images.shape).astype(np.float32)
    images, texts = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts))
    fitted = fit_scale(images, texts, batch=64, seed=3)
    assert (fitted.scale, fitted.cross_entropy) == best_scale(batched_cosines(images, texts, 64, 3))
    assert (fitted.pairs, fitted.batch) == (150, 64)
    assert 1 / 64 < fitted.accuracy <= 1
    assert fit_scale(images[:20], texts[:20]).batch == 20
    with pytest.raises(ValueError, match="there are none"):
        fit_scale(images[:0], texts[:0])
