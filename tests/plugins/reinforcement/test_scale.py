import numpy as np
import pytest

from openmofi.errors import OpenMofiError
from openmofi.pairs import Record, write_tar
from openmofi.plugins.reinforcement import tune_scale
from openmofi.storage import expand_shards


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
