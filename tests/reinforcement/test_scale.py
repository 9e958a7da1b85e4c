import numpy as np
import pytest
from scipy.optimize import brute

from openmofi.errors import OpenMofiError
from openmofi.pairs import Record, write_tar
from openmofi.reinforcement import tune_scale
from openmofi.reinforcement.scale import batched_cosines, best_scale, contrastive_cross_entropy
from openmofi.storage import expand_shards


def cosines_of_scale(scale: float, batches: int, batch: int, spread: float = 0.06) -> np.ndarray:
    """Cosines for which softmax(scale · cosines) is the true posterior of the pair, by rows and by columns.

    Others are N(0, σ²), true pairs N(scale · σ², σ²): the ratio of the two densities is exp(scale · cosine) but for a
    constant.
    """
    draw = np.random.default_rng(0)
    cosines = draw.normal(0, spread, (batches, batch, batch))
    places = np.arange(batch)
    cosines[:, places, places] += scale * spread**2
    return cosines


@pytest.mark.parametrize("scale", [8.0, 25.0, 60.0])
def test_it_finds_the_scale_that_the_data_were_drawn_with(scale):
    cosines = cosines_of_scale(scale, 60, 64)
    found, loss = best_scale(cosines)
    assert found == pytest.approx(scale, rel=0.08)
    assert loss < min(contrastive_cross_entropy(cosines, found * factor) for factor in (0.9, 1.1))


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


@pytest.mark.slow
def test_too_few_pairs_are_refused(small_encoder, tmp_path):
    write_tar(tmp_path / "a.tar", [Record("a", b"broken", "a")])
    with pytest.raises(OpenMofiError, match="0 pairs"):
        tune_scale(expand_shards([str(tmp_path / "a.tar")]), small_encoder)


@pytest.mark.slow
def test_a_teachers_scale_on_held_out_pairs(shards, small_encoder):
    found = tune_scale(shards[:1], small_encoder, batch=32)
    assert 1 < found.scale < 200
    assert found.cross_entropy < np.log(found.batch)
    assert found.accuracy > 1.5 / found.batch
    assert found == tune_scale(shards[:1], small_encoder, batch=32)
