"""How the suite is run: what `make test` has of the slow tests."""

from suite import CHOSEN, TESTS


def test_every_chosen_test_is_there():
    sources = "".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    names = [line.partition("[")[0] for line in CHOSEN.read_text().splitlines() if not line.startswith("#")]
    assert len(names) > 100
    assert [name for name in names if f"def {name}(" not in sources] == []
