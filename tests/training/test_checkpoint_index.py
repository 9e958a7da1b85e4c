"""A checkpoint from elsewhere runs nothing: neither its index, nor its tensors; and an honest one is read whole."""

import io
import os
import pickle
import shutil

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, MetadataIndex

from openmofi.errors import OpenMofiError
from openmofi.storage.foreign.pickles import PickleRefused
from openmofi.training.checkpoint import CheckpointReader, Checkpoints, Progressed, read_index

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
    return pickle.loads((kept.path(4) / ".metadata").read_bytes())


def with_index(kept, metadata):
    (kept.path(4) / ".metadata").write_bytes(pickle.dumps(metadata))


def refused(kept, match):
    with pytest.raises(OpenMofiError, match=match) as caught:
        kept.load(a_state(seed=1, steps=0), 4)
    assert "\n" not in str(caught.value)


def test_the_index_is_the_one_that_pytorch_reads(saved):
    own, theirs = CheckpointReader(saved.path(4)).read_metadata(), dcp.FileSystemReader(saved.path(4)).read_metadata()
    assert own.state_dict_metadata == theirs.state_dict_metadata
    assert own.storage_data == theirs.storage_data
    assert own.version == theirs.version


@pytest.mark.parametrize(
    "make",
    [
        lambda metadata: Attack(os.system, "touch pwned"),
        lambda metadata: Attack(eval, "__import__('os').system('touch pwned')"),
        lambda metadata: Attack(open, "pwned", "w"),
        lambda metadata: Attack(torch.load, "x"),
        lambda metadata: setattr(metadata, "planner_data", Attack(os.system, "touch pwned")) or metadata,
        lambda metadata: setattr(metadata.storage_meta, "modules", [Attack(os.system, "touch pwned")]) or metadata,
        lambda metadata: metadata.state_dict_metadata.update(x=Attack(os.system, "touch pwned")) or metadata,
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_an_index_that_would_run_code_is_refused(saved, tmp_path, monkeypatch, make, protocol):
    monkeypatch.chdir(tmp_path)
    (saved.path(4) / ".metadata").write_bytes(pickle.dumps(make(index_of(saved)), protocol))
    refused(saved, "step-00000004 is refused: it asks for .*remove its folder")
    assert not (tmp_path / "pwned").exists()


def test_tensors_that_would_run_code_are_refused(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = io.BytesIO()
    torch.save({"a": Attack(os.system, "touch pwned")}, content)
    (saved.path(4) / "__0_0.distcp").write_bytes(content.getvalue())
    metadata = index_of(saved)
    metadata.storage_data = {
        index: _StorageInfo("__0_0.distcp", 0, len(content.getvalue())) for index in metadata.storage_data
    }
    with_index(saved, metadata)
    refused(saved, "step-00000004 cannot be read")
    assert not (tmp_path / "pwned").exists()


def test_a_value_of_bytes_which_pytorch_would_unpickle_is_refused(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metadata = index_of(saved)
    name = next(iter(metadata.state_dict_metadata))
    metadata.state_dict_metadata[name] = BytesStorageMetadata()
    content = io.BytesIO()
    torch.save(Attack(os.system, "touch pwned"), content)
    (saved.path(4) / "__0_0.distcp").write_bytes(content.getvalue())
    metadata.storage_data[MetadataIndex(name)] = _StorageInfo("__0_0.distcp", 0, len(content.getvalue()))
    with_index(saved, metadata)
    refused(saved, "is refused: it asks for .*BytesStorageMetadata")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("place", ["../../secret", "/etc/passwd", "__0_0.distcp/../x", ""])
def test_a_place_outside_of_the_checkpoint_is_refused(saved, place):
    metadata = index_of(saved)
    for info in metadata.storage_data.values():
        info.relative_path = place
    with_index(saved, metadata)
    refused(saved, "is refused: it refers to")


def test_odd_values_are_refused(saved):
    path = saved.path(4) / ".metadata"
    for value in (None, [], {"state_dict_metadata": {}}, torch.Size([1])):
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(PickleRefused, match="no index of tensors"):
            read_index(path)
    for change in ({"offset": -1}, {"length": "x"}, {"transform_descriptors": ["zstd"]}):
        shutil.rmtree(saved.path(4))
        saved.save(a_state(), Progressed(4))
        metadata = index_of(saved)
        for info in metadata.storage_data.values():
            vars(info).update(change)
        with_index(saved, metadata)
        refused(saved, "is refused")


def test_an_attribute_set_on_a_stand_in_stays_there(saved):
    """`BUILD` may set attributes of what a pickle refers to: PyTorch's own classes are not what it refers to."""
    (saved.path(4) / ".metadata").write_bytes(
        b"ctorch.distributed.checkpoint.metadata\nMetadata\n(N}(S'version'\nS'x'\nutb."
    )
    refused(saved, "is refused|cannot be read")
    assert dcp.metadata.Metadata.version is None


def test_an_honest_checkpoint_of_pytorch_is_read_to_the_bit(saved):
    fresh = a_state(seed=1, steps=0)
    saved.load(fresh, 4)
    assert all(torch.equal(value, bits(a_state())[name]) for name, value in bits(fresh).items())
