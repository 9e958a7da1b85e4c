"""A disk that is full at each stage of a build of Wikidata."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from item_dumps import random_items, write_dump
from mounts import small_disk

from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.wikidata import build, parts
from openmofi.plugins.wikidata.build import build_wikidata

_STAGES = (
    r"kb\.work/parts-\w+/lines-\w+/\d",
    r"kb\.work/parts-\w+/\w+-0000\d+\.parquet",
    r"kb\.work/tables-\w+",
    r"kb/\.build/\w+(\.arrow)?",
    r"kb/(ids|relations/\w+)\.\w+",
    r"kb/(names|candidates/\w+)\.\w+",
    r"kb/vectors\.npy",
)
"""Lines on their way to workers, parts, joins, what is staged for the build, relations, the trie, vectors."""


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_at_each_stage_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parts.read_parts.__kwdefaults__, "size", 40_000)
    dump = write_dump(tmp_path / "all.json.gz", random_items(60, seed=3))
    said = list[str]()
    with small_disk(tmp_path / "disk") as disk:

        def tried(kibibytes: int) -> bool:
            subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", str(disk)], check=True)
            try:
                build_wikidata([dump], disk / "kb", workers=1)
            except OpenMofiError as error:
                said.append(error.message)
                with pytest.raises(OpenMofiError):
                    KnowledgeBase.open(disk / "kb")
                return False
            return True

        assert not any(map(tried, (24, 112)))
        with monkeypatch.context() as stopped:  # once all is read, the room for lines on their way is not free again
            stopped.setattr(build, "select_tables", lambda *_, **__: (_ for _ in ()).throw(OpenMofiError("read")))
            assert not tried(400)
        assert said.pop() == "read"
        read = {path: path.stat().st_mtime_ns for path in disk.glob("kb.work/parts-*/*.parquet")}
        used = sum(path.stat().st_blocks for path in disk.rglob("*") if path.is_file()) // 2
        assert any(map(tried, range(used + 8, used + 400, 4)))
        assert read == {path: path.stat().st_mtime_ns for path in read}, "what was read is not read again"
        build_wikidata([dump], tmp_path / "elsewhere", workers=1)
        for path in (tmp_path / "elsewhere").rglob("*.*"):
            own = disk / "kb" / path.relative_to(tmp_path / "elsewhere")
            assert path.name == "manifest.json" or own.read_bytes() == path.read_bytes(), own
    full = [re.fullmatch(r"The disk is full: .*/disk/(.+) could not be written\.", message) for message in said]
    assert all(full), said
    for stage in _STAGES:
        assert any(match and re.fullmatch(stage, match[1]) for match in full), (stage, said)
