"""What img2dataset and `openmofi fetch` note beside a tar, of each image by its key."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openmofi.errors import OpenMofiError
from openmofi.pairs.log import logged

LOG = {
    "url": ["http://a/1", "http://a/2"],
    "caption": ["one", None],
    "key": ["000000000", "000000001"],
    "status": ["success", "failed_to_download"],
    "error_message": [None, "HTTP Error 404"],
    "width": [64, None],
    "exif": ["{}", None],
    "sha256": ["ab", None],
    "license": ["CC0", ""],
    "similarity": [0.3, 0.1],
}


def test_a_log_is_read_by_key_without_what_says_nothing_of_the_origin(tmp_path):
    pq.write_table(pa.table(LOG), tmp_path / "00000.parquet")
    assert logged(str(tmp_path / "00000.tar")) == {
        "000000000": {"url": "http://a/1", "sha256": "ab", "license": "CC0", "similarity": 0.3},
        "000000001": {"url": "http://a/2", "similarity": 0.1},
    }


def test_anything_else_beside_a_tar_is_no_log(tmp_path):
    assert logged(str(tmp_path / "x.tar")) == {}
    pq.write_table(pa.table({"key": ["1"], "url": ["u"], "image": [b"1"]}), tmp_path / "x.parquet")
    assert logged(str(tmp_path / "x.tar")) == {}
    assert logged(str(tmp_path / "x.parquet")) == {}
    assert logged(str(tmp_path / "x.tar.gz")) == {}


def test_a_damaged_log_is_an_error_that_names_it(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(OpenMofiError, match=r"x\.parquet is damaged"):
        logged(str(tmp_path / "x.tar"))
