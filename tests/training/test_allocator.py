import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from openmofi.training.process import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else False
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block = np.ones(8_000_000)  # 64 MB, each page written
    del block
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode, environment=None):
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], check=True, capture_output=True, text=True,
                          env=environment)
    kept, count = done.stdout.split()
    return bool(int(kept)), int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="needs: glibc")
def test_a_block_that_was_freed_is_not_fetched_from_the_system_again():
    kept, few = faults("keep")
    _, many = faults("leave")
    assert kept
    assert few < many / 4


def test_what_the_environment_says_goes_first(monkeypatch):
    from openmofi.training.process import keep_freed_memory

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_freed_memory()
