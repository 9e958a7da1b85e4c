"""A disk that is really full, at ever later moments: one sentence, and the same command goes on to the same bytes.

The index's is in tests/search/test_safety.py, Wikidata's in tests/plugins/wikidata/test_full_disk.py.
"""

import shutil
import subprocess

import pytest
from mounts import small_disk

from hostile.kills import digests, stage_of
from openmofi.errors import OpenMofiError

ROOMY_KIB = 1 << 17


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["label", "kb", "dataset", "train", "reinforce"])
def test_a_full_disk_is_one_sentence_and_the_job_goes_on_after(stage, bench, tmp_path):
    act, messages = stage_of(stage, bench), []
    with small_disk(tmp_path / "disk", f"{ROOMY_KIB}k") as disk:
        out = disk / "out"
        act(out)
        whole = digests(out)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) // 1024
        shutil.rmtree(out)
        for room in (*(int(share * size) + 8 for share in (0.02, 0.2, 0.45, 0.7, 0.9, 1.1)), ROOMY_KIB):
            subprocess.run(["mount", "-o", f"remount,size={room}k", str(disk)], check=True)
            try:
                act(out)
                break
            except OpenMofiError as error:
                messages.append(str(error))
                assert not list(disk.rglob(".openmofi-tmp*"))
        assert digests(out) == whole
    assert len(messages) >= 3
    assert all("disk is full" in message and "\n" not in message for message in messages), messages
