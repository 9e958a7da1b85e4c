import multiprocessing
from collections.abc import Iterator

import pytest

from forked import forks


@pytest.fixture(autouse=True, scope="module")
def _forked_workers() -> Iterator[None]:
    """Processes that parse are forks, which need import nothing; what a test starts as a command spawns them."""
    usual = multiprocessing.get_context
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            multiprocessing, "get_context", lambda method=None: forks() if method == "spawn" else usual(method)
        )
        yield
