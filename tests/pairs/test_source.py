"""Shards on web servers that serve them well or badly: read, or one sentence."""

from __future__ import annotations

import builtins

import pytest
from web_server import web_server

from openmofi.errors import MissingExtraError, OpenMofiError, UsageError, install_command
from openmofi.pairs import Record, read_pairs, write_tar
from openmofi.storage import Shard, addresses, expand_shards

pytest.importorskip("aiohttp")

ROWS = 400


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    path = tmp_path_factory.mktemp("web") / "x.tar"
    write_tar(path, [Record(f"{row:05d}", bytes(3000), "a cat") for row in range(ROWS)])
    with web_server({"x.tar": path.read_bytes()}) as address:
        yield address


def keys(shard):
    return [pair.key for pair in read_pairs(shard)]


@pytest.mark.parametrize("kind", ["good", "plain", "moved"])
def test_a_shard_is_listed_named_and_read(url, kind):
    (shard,) = expand_shards([f"{url}/{kind}/x.tar"])
    assert (shard.path, shard.name) == (f"{url}/{kind}/x.tar", "x")
    assert len(shard.fingerprint) == 16
    assert len(keys(shard)) == ROWS


def test_fingerprints_are_those_of_the_file(url, tmp_path):
    write_tar(tmp_path / "x.tar", [Record(f"{row:05d}", bytes(3000), "a cat") for row in range(ROWS)])
    assert Shard(f"{url}/good/x.tar", "x").fingerprint == Shard(str(tmp_path / "x.tar"), "x").fingerprint


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("500", r"the server answered 500 \(Internal Server Error\)"),
        ("403", r"the server answered 403 \(Forbidden\)"),
        ("loop", "the server redirects without an end"),
        ("stalled", r"the server sent nothing for 0\.3 seconds"),
        ("cut", "the server broke off in the middle of the file"),
    ],
)
def test_what_the_server_does_wrong_is_said(url, kind, reason, monkeypatch):
    monkeypatch.setattr(addresses, "HTTP_TIMEOUT_SECONDS", 0.3)
    address = f"{url}/{kind}/x.tar"
    if kind != "cut":  # its headers are as they should be
        with pytest.raises(OpenMofiError, match=f"{address} cannot be listed: {reason}"):
            expand_shards([address])
    with pytest.raises(OpenMofiError, match=f"{address} cannot be read: {reason}"):
        _ = Shard(address, "x").fingerprint
    # The engine tries again what an OSError ended.
    with pytest.raises(OSError, match=reason):
        keys(Shard(address, "x"))


def test_what_is_not_there(url):
    with pytest.raises(UsageError, match="matches nothing"):
        expand_shards([f"{url}/good/y.tar"])
    with pytest.raises(OpenMofiError, match=r"y\.tar does not exist"):
        keys(Shard(f"{url}/good/y.tar", "y"))


def test_no_server():
    with pytest.raises(OpenMofiError, match="cannot be listed: the connection failed"):
        expand_shards(["http://127.0.0.1:9/x.tar"])


@pytest.mark.parametrize(
    ("address", "package", "extra"),
    [
        ("http://example.invalid/x.tar", "aiohttp", "http"),
        ("https://example.invalid/x.tar", "aiohttp", "http"),
        ("az://bucket/x.tar", "adlfs", "azure"),
        ("gs://bucket/x.tar", "gcsfs", "gcs"),
    ],
)
def test_a_missing_extra_is_named(address, package, extra, monkeypatch):
    imported = builtins.__import__

    def without(name, *rest, **named):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return imported(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    for work in (
        lambda: expand_shards([address]),
        lambda: keys(Shard(address, "x")),
        lambda: Shard(address, "x").fingerprint,
    ):
        with pytest.raises(MissingExtraError, match=f"'{package}'") as caught:
            work()
        assert install_command(extra) in caught.value.hint
