"""For which kinds of query an index says probabilities, and what it says of the others."""

import pytest
from search_world import colour_encoder
from served_world import labelled_index

from openmofi.search import Example, Query, Verdict
from openmofi.search.rank.calibration import LIKELY, MINIMUM, Curve, Ending, calibration_of
from openmofi.search.rank.fitting import fit_ending

KINDS = ("text", "entity", "image", "recognition", "unnamed")


@pytest.fixture
def labelled_colours(tmp_path):
    """Few labels, by which the index has asked itself."""
    index = labelled_index(tmp_path / "colours", encoder=colour_encoder())
    ending = fit_ending(index.state, index.connection, index.encoder).to_json()
    index.connection.execute("UPDATE meta SET value = ? WHERE name = 'ending'", (ending,))
    index.connection.execute("INSERT INTO commits (made, what, changes) VALUES ('', 'test', '{}')")
    yield index
    index.close()


def test_an_index_without_labels_says_that_of_each_kind(index):
    info = index.info()
    assert tuple(info.calibration) == KINDS
    assert {each.source for each in info.calibration.values()} == {"none"}
    assert all("No label says" in each.why and "openmofi label" in each.hint for each in info.calibration.values())
    assert info.uncalibrated == f"No probabilities for {', '.join(KINDS)}: No label says what its images show."
    red = index.search(Query(text="red"))
    assert red.uncalibrated == str(info.calibration["text"])
    assert {(hit.probability, hit.basis) for hit in red.hits} == {(None, "")}
    assert index.search(Query((Example(red.hits[0].image.id),))).uncalibrated == str(info.calibration["image"])
    assert index.recognise(red.hits[0].image.id).uncalibrated == str(info.calibration["recognition"])
    assert index.search(Query()).uncalibrated == ""  # what is only listed has no probability to miss


def test_too_few_labels_say_how_many_there_are(labelled_colours):
    calibration = labelled_colours.info().calibration
    for kind in ("text", "image", "recognition", "unnamed"):
        each = calibration[kind]
        assert each.source == "none"
        assert min(each.right, each.wrong) < MINIMUM
        fewer = each.right if each.right < MINIMUM else each.wrong
        assert each.why.startswith(f"Only {int(fewer)} results of ")
        assert f"{MINIMUM} are needed" in each.why
    assert calibration["entity"].source == "labels"
    assert labelled_colours.info().uncalibrated.startswith(
        "No probabilities for text, image, recognition, unnamed: Only"
    )


def test_a_name_has_the_probabilities_of_its_labels(labelled_colours):
    """Also where texts are not calibrated: what the label job said of an image is known by itself."""
    by_entity = labelled_colours.search(Query(entity="c:red", limit=30, fold=False))
    judged = {hit.image.id: hit.probability for hit in by_entity.hits if hit.basis == "labels"}
    assert len(judged) > 5
    for text in ("red", "Crimson"):
        results = labelled_colours.search(Query(text=text, limit=30, fold=False))
        assert results.entity == by_entity.entity == "c:red"
        assert [each.id for each in results.meant] == ["c:red"]
        assert {hit.image.id: hit.probability for hit in results.hits if hit.basis} == judged
        assert {hit.probability for hit in results.hits if not hit.basis} == {None}
        assert results.uncalibrated.startswith("Images that the label job judged for an entity have the probability")
        assert results.end is not None
        likely = sorted((probability for probability in judged.values() if probability >= LIKELY), reverse=True)
        assert [hit.probability for hit in results.hits[: len(likely)]] == likely
        # What was judged to be unlikely is no better than what was not judged: words and cosines order these.
        assert {hit.basis for hit in results.hits[len(likely) :][:5]} == {"", "labels"}
    other = labelled_colours.search(Query(text="a red square", limit=30))
    assert (other.meant, other.end, {hit.basis for hit in other.hits}) == ((), None, {""})
    plain = labelled_colours.search(Query(text="red", keywords=False))
    assert (plain.meant, plain.end) == ((), None)


def test_a_mark_is_its_own_basis(labelled_colours):
    first, second = (hit.image.id for hit in labelled_colours.search(Query(entity="c:red", limit=2, fold=False)).hits)
    refined = labelled_colours.search(Query(entity="c:red", like=(first,), unlike=(second,), limit=30, fold=False))
    assert {hit.image.id: hit.basis for hit in refined.hits if hit.basis == "mark"} == {first: "mark", second: "mark"}


def test_subtypes_do_not_add_up_to_certainty(labelled_colours):
    """Two labels of .6 below one class: .84 that the image shows one of the two, not 1.2, which is cut to 1."""
    connection = labelled_colours.connection
    connection.executemany("INSERT INTO supertypes VALUES (?, 'c:grey')", [("c:red",), ("c:green",)])
    (image,) = connection.execute("SELECT min(id) FROM images").fetchone()
    connection.execute("DELETE FROM labels WHERE image = ?", (image,))
    connection.executemany(
        "INSERT INTO labels VALUES (?, ?, .6, 0, .5)", [(image, "c:red"), (image, "c:green"), (image, "c:blue")]
    )

    def shown():
        hits = labelled_colours.search(Query(entity="c:grey", limit=30, fold=False)).hits
        return {hit.image.id: hit.probability for hit in hits}[image]

    assert shown() == pytest.approx(0.84)
    record = labelled_colours.image(image)
    labelled_colours.add_verdict(Verdict(record.shard, record.key, "c:red", "n", who="ann"))
    assert shown() == pytest.approx(0.6)
    labelled_colours.add_verdict(Verdict(record.shard, record.key, "c:green", "y", who="ann"))
    assert shown() == 1


CURVE = Curve((0.0,), (1.0,), (1.0, 0.0), (0.0, 1.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("ending", "texts", "kind", "source", "says"),
    [
        (None, True, "text", "none", "has not calibrated the index yet"),
        (Ending(CURVE, None, None, (), (), 1.0), True, "text", "fitted", ""),
        (Ending(CURVE, None, None, (), (), 1.0), True, "entity", "fitted", ""),
        (Ending(None, CURVE, None, (), (), 1.0), False, "text", "none", "embeds images only"),
        (Ending(None, CURVE, None, (), (), 1.0), True, "text", "none", "too little"),  # of a version that did not count
        (
            Ending(None, None, None, (), (), 1.0, None, {"image": (300.7, 12.9)}),
            True,
            "image",
            "none",
            "Only 12 results",
        ),
    ],
)
def test_why_there_is_none(ending, texts, kind, source, says):
    each = calibration_of(ending, texts=texts)[kind]
    assert each.source == source
    assert says in str(each)
    assert bool(each.why) == bool(each.hint) == (source == "none")
