"""How the suite is run: what `make test` has of the slow tests, and how machines share it."""

from suite import CHOSEN, TESTS, parts


def test_every_chosen_test_is_there():
    sources = "".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    names = [line.partition("[")[0] for line in CHOSEN.read_text().splitlines() if not line.startswith("#")]
    assert len(names) > 100
    assert [name for name in names if f"def {name}(" not in sources] == []


def test_shards_have_each_group_once_and_are_about_equal():
    seconds = {f"group{number}": 1.0 + number % 7 for number in range(60)}
    split = parts(seconds, 6)
    assert sorted(group for part in split for group in part) == sorted(seconds)
    totals = [sum(seconds[group] for group in part) for part in split]
    assert max(totals) - min(totals) <= max(seconds.values())
    assert parts(dict(reversed(seconds.items())), 6) == split
