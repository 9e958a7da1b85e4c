"""One invariant for all that is read: whole or refused in a sentence, within bounded memory, and never a crash.

The cases of a family run in a process of its own (`hostile.runner`), for some of them would take the tests along.
`make test` runs one case in ten and kills each stage once; `make test-all` runs one in three and kills three times;
`make fuzz` runs every case, with other seeds too, and kills a hundred times. $OPENMOFI_HOSTILE_SHARE=1 runs every case
here too, $OPENMOFI_KILLS says how many kills.
"""

from __future__ import annotations

import os

import pytest

from hostile.fuzz import python, run_family
from hostile.kills import STAGES
from hostile.reads import FORMATS, read_damaged
from hostile.reads import GROWTH_MIB as GROWTH
from hostile.runner import EVERY, FAMILIES

GROWTH_MIB = {"images": 1300, "encoders": 900}
"""By how much the process may grow over what a small label job takes; torch itself takes half of what is set here."""
LEAST = {
    "tars": 600,
    "images": 80,
    "tables": 240,
    "texts": 90,
    "bases": 250,
    "folders": 220,
    "encoders": 150,
    "settings": 230,
}
READ_WHOLE = {"images", "texts"}
"""Families of rows: a bad one has its status, a text is a text, and the job goes on. Of the others some are refused."""
SHARE = int(os.environ.get("OPENMOFI_HOSTILE_SHARE", "3"))
READS = 60
"""Damaged shards of each format here; `make fuzz` reads 20,000 of all together."""
KILLS = int(os.environ.get("OPENMOFI_KILLS", "3"))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_whole_or_refused(family, bench, tmp_path):
    cases, outcomes = run_family(family, bench, tmp_path, share=SHARE)
    assert {row["outcome"] for row in outcomes} == ({"whole"} if family in READ_WHOLE else {"whole", "refused"})
    assert cases >= LEAST[family]
    assert 0.7 * cases < SHARE * len(outcomes) < 1.4 * cases
    assert outcomes[-1]["grown_mib"] < GROWTH_MIB.get(family, 500)


@pytest.mark.slow
def test_a_tenth_of_all_families_is_whole_or_refused(bench, tmp_path):
    cases, outcomes = run_family(EVERY, bench, tmp_path, share=10)
    assert cases >= sum(LEAST.values())
    assert cases < 12 * len(outcomes)
    assert {row["outcome"] for row in outcomes} == {"whole", "refused"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_shards_are_read_or_refused(name, tmp_path):
    outcome = read_damaged(name, READS, 0, tmp_path)
    assert not outcome.broken
    assert outcome.reads == READS
    assert outcome.counts["refused"] > 0
    assert outcome.counts["rows"] > 0 or name == "state.json"
    assert outcome.peak < GROWTH


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kills", [1, KILLS], ids=["once", "often"])
def test_killed_and_resumed_is_the_same_bytes(stage, kills, bench):
    done = python("hostile.kills", bench.root, stage, kills, "--seed", kills)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kills, 0 outcomes of other bytes" in done.stdout
