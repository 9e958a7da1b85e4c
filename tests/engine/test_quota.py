import math

import pytest

from openmofi.engine import protocol
from openmofi.engine.protocol import cores, quota


def groups(root, lines, files):
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    (root / "cgroup").write_text("\n".join(lines) + "\n")
    return quota(root / "cgroup", root)


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        (["0::/"], {"cpu.max": "200000 100000\n"}, 2),
        (["0::/a/b"], {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        (["0::/a/b"], {"cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n", "a/b/cpu.max": "50000 100000\n"}, 1),
        (["0::/of/the/host"], {"cpu.max": "300000 100000\n"}, 3),
        (
            ["4:cpu,cpuacct:/job", "1:memory:/job"],
            {"cpu/job/cpu.cfs_quota_us": "250000\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        (["4:cpu:/"], {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        (["0::/"], {"cpu.max": "max 100000\n"}, math.inf),
        (["0::/"], {"cpu.max": "nonsense\n"}, math.inf),
        (["nonsense"], {}, math.inf),
    ],
)
def test_the_least_quota_of_a_group_and_those_above_it_counts(tmp_path, lines, files, expected):
    assert groups(tmp_path, lines, files) == expected


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert quota(tmp_path / "nowhere", tmp_path) == math.inf


def test_cores_are_no_more_than_the_quota_and_no_more_than_there_are(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(protocol.os, "sched_getaffinity", lambda _: set(range(8)))
    for allowed, expected in ((2, 2), (64, 8), (math.inf, 8)):
        monkeypatch.setattr(protocol, "quota", lambda allowed=allowed: allowed)
        assert cores() == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert cores() == 5
