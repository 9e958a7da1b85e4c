"""A checkpoint from elsewhere runs nothing: neither its index, nor its tensors; and an honest one is read whole."""

import io
import json
import os
import pickle

import pytest
import torch
import torch.distributed.checkpoint as dcp

from openmofi.errors import OpenMofiError
from openmofi.training.checkpoint import CheckpointReader, Checkpoints, Progressed, write_index

from .test_checkpoint import a_state, bits


class Attack:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.fixture
def saved(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints", keep=2, best="-loss")
    kept.save(a_state(), Progressed(4))
    return kept


def index_of(kept):
    return json.loads((kept.path(4) / "index.json").read_text())


def with_index(kept, index):
    (kept.path(4) / "index.json").write_text(json.dumps(index))


def chunks_of(index):
    return [chunk for tensor in index for chunk in tensor["chunks"]]


def refused(kept, match):
    with pytest.raises(OpenMofiError, match=match) as caught:
        kept.load(a_state(seed=1, steps=0), 4)
    assert "\n" not in str(caught.value)


def test_the_index_says_what_that_of_pytorch_says(saved):
    own, theirs = CheckpointReader(saved.path(4)).read_metadata(), dcp.FileSystemReader(saved.path(4)).read_metadata()
    assert {
        name: (entry.size, entry.chunks, entry.properties.dtype) for name, entry in own.state_dict_metadata.items()
    } == {
        name: (entry.size, entry.chunks, entry.properties.dtype) for name, entry in theirs.state_dict_metadata.items()
    }
    assert own.storage_data == theirs.storage_data


def test_the_order_of_the_tensors_is_read_back(saved):
    assert list(CheckpointReader(saved.path(4)).read_metadata().state_dict_metadata) == list(a_state().tensors())


def test_an_index_can_be_made_of_that_of_pytorch(saved):
    before = index_of(saved)
    write_index(saved.path(4), dcp.FileSystemReader(saved.path(4)).read_metadata())
    assert index_of(saved) == before


def test_the_index_of_pytorch_is_not_read(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (saved.path(4) / ".metadata").write_bytes(pickle.dumps(Attack(os.system, "touch pwned")))
    saved.load(a_state(seed=1, steps=0), 4)
    (saved.path(4) / "index.json").unlink()
    refused(saved, "index.json cannot be read.*Remove its folder")
    assert not (tmp_path / "pwned").exists()


def test_tensors_that_would_run_code_are_refused(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = io.BytesIO()
    torch.save({"a": Attack(os.system, "touch pwned")}, content)
    (saved.path(4) / "__0_0.distcp").write_bytes(content.getvalue())
    index = index_of(saved)
    for chunk in chunks_of(index):
        chunk |= {"file": "__0_0.distcp", "offset": 0, "length": len(content.getvalue())}
    with_index(saved, index)
    refused(saved, "step-00000004 cannot be read")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("place", ["../../secret", "/etc/passwd", "__0_0.distcp/../x", "", "__0_0.distcp\n"])
def test_a_place_outside_of_the_checkpoint_is_refused(saved, place):
    index = index_of(saved)
    for chunk in chunks_of(index):
        chunk["file"] = place
    with_index(saved, index)
    refused(saved, r"index.json cannot be read.*chunks\[0\].file")


def test_odd_values_are_refused(saved):
    honest = index_of(saved)
    for value in (None, {}, [{"name": "model.x"}], [honest]):
        with_index(saved, value)
        refused(saved, "index.json cannot be read")
    for change in ({"offset": -1}, {"length": "x"}, {"sizes": [2.5]}, {"transform_descriptors": ["zstd"]}):
        index = json.loads(json.dumps(honest))
        for chunk in chunks_of(index):
            chunk |= change
        with_index(saved, index)
        refused(saved, "index.json cannot be read")
    for change in ({"dtype": "load"}, {"size": [1 << 70]}):
        index = json.loads(json.dumps(honest))
        for tensor in index:
            tensor |= change
        with_index(saved, index)
        refused(saved, "cannot be read")


def test_an_honest_checkpoint_of_pytorch_is_read_to_the_bit(saved):
    fresh = a_state(seed=1, steps=0)
    saved.load(fresh, 4)
    assert all(torch.equal(value, bits(a_state())[name]) for name, value in bits(fresh).items())
