"""Which addresses are opened: those of stores, and none that is chained or of another protocol."""

import urllib.request

import fsspec
import pytest
from refused import ADDRESSES, SAID, unasked

from openmofi.errors import OpenMofiError
from openmofi.pairs import read_pairs
from openmofi.storage import Shard, exists, expand_shards, file_fingerprint, read_manifest, write_bytes
from openmofi.storage.addresses import filesystem_of, names_in, open_address, open_ranges, present
from openmofi.storage.folders import local_folder
from terminal import in_process, sentence


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_no_address_of_a_store_is_refused_and_nobody_is_asked(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with unasked() as host:
        address = address.replace("HOST", host)
        for work in (
            filesystem_of,
            exists,
            open_address,
            open_ranges,
            names_in,
            local_folder,
            file_fingerprint,
            read_manifest,
            lambda path: present([f"{path}/a"]),
            lambda path: expand_shards([path]),
            lambda path: list(read_pairs(Shard(path, "x"))),
            lambda path: write_bytes(path, b"x"),
        ):
            with pytest.raises(OpenMofiError, match=SAID) as caught:
                work(address)
            assert "https://" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["label check ADDRESS", "kb info ADDRESS", "dataset build ADDRESS -o out"])
@pytest.mark.parametrize("address", ADDRESSES[:3])
def test_a_command_says_so(command, address, tmp_path):
    with unasked() as host:
        address = address.replace("HOST", host)
        done = in_process(*command.replace("ADDRESS", address).split(), cwd=tmp_path)
        said = sentence(done)
        assert address in said
        assert SAID in said


def test_the_port_of_these_tests_sees_who_asks():
    def ask(host):
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://{host}/x", timeout=0.05)

    with pytest.raises(AssertionError, match="asked"), unasked() as host:
        ask(host)


@pytest.mark.parametrize("address", ["memory://a/x", "http://127.0.0.1:9/x", "https://127.0.0.1:9/x"])
def test_an_address_of_a_store_has_the_file_system_of_its_protocol(address):
    filesystem, name = filesystem_of(address)
    assert isinstance(filesystem, fsspec.get_filesystem_class(address.partition(":")[0]))
    assert name.endswith("/x")


@pytest.mark.parametrize("name", ["reference::x", "zip::a.tar", "a b://x", "./reference://x", "x:y"])
def test_a_local_path_is_one_whatever_is_in_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bytes(name, b"x")
    assert exists(name)
    with open_address(name) as file:
        assert file.read() == b"x"
