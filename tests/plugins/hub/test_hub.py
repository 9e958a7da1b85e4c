import urllib.error

import pytest

from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError

SPECS = ["hf:someone/no-such-clip", "open_clip:ViT-B-16/laion2b_s34b_b88k"]


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.parametrize("spec", SPECS)
def test_an_unreachable_hub_is_one_sentence_with_alternatives(spec, monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(OpenMofiError, match="cannot be reached") as raised:
        open_encoder(spec)
    assert all(word in raised.value.hint for word in ("hf:FOLDER", "run:FOLDER", "`sample`", "safetensors"))


@pytest.mark.parametrize("spec", SPECS)
def test_offline_mode_asks_nobody(spec, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(OpenMofiError, match="cannot be reached"):
        open_encoder(spec)


def test_a_name_that_no_repository_can_have():
    with pytest.raises(OpenMofiError, match="neither a folder nor a repository"):
        open_encoder("hf:some one/mo del!")


def test_a_cached_file_is_used_without_the_network(tmp_path, monkeypatch):
    from openmofi.plugins.hub import hub_file, hub_folder

    snapshot = tmp_path / "models--someone--model" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("a" * 40)
    (snapshot / "weights.bin").write_bytes(b"1")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    assert hub_file("someone/model", ["weights.safetensors", "weights.bin"]).read_bytes() == b"1"
    assert hub_folder("someone/model", ["*"], ["*.bin"]).name == "a" * 40
