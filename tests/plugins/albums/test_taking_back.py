"""What people and servers do between `albums tag` and `untag`: what is theirs stays, what is ours goes."""

import json

import pytest
from photo_servers import SECRET, Immich
from test_tagging import changes, counts, night, tag, untag


def before_each(stub, operation, answer):
    """Let `answer(do, …)` answer requests of an operation; `do()` is what the stub does, and `None` is that too."""
    do = stub.do

    def other(named, *more):
        said = answer(lambda: do(named, *more), *more) if named == operation else None
        return said or do(named, *more)

    stub.do = other


def test_a_change_whose_answer_is_lost_is_taken_back(immich_library, labelled_photos, tmp_path):
    """immich counts what is new: a request that is repeated counts nothing."""
    before, lost = immich_library.state(), []

    def once(do, *_):
        if not lost:
            lost.append(do())
            return 504, {"message": "gateway"}
        return None

    before_each(immich_library, "PUT tags/assets", once)
    first = next(iter(immich_library.photos))
    labels = labelled_photos({first: {"e:sun": 0.97, "e:moon": 0.8}})
    assert counts(tag(immich_library, labels, tmp_path / "j")).items() >= {"added": 2, "failed": 0}.items()
    assert lost == [(200, {"count": 2})]
    assert counts(untag(immich_library, tmp_path / "j")) == {"removed": 2, "gone": 0}
    night(immich_library)
    assert immich_library.state() == before


@pytest.mark.parametrize("made", [False, True], ids=["before ours", "confirms ours"])
def test_a_label_of_a_person_stays(photoprism_library, labelled_photos, tmp_path, made):
    """Its uncertainty is 0. A run is cut off before its change, or makes it, and the person confirms it."""
    fourth = list(photoprism_library.photos.values())[3]
    labels = labelled_photos({fourth.id: {"e:sun": 0.6 if made else 1.0}})
    counts(tag(photoprism_library, labels, tmp_path / "j"))
    assert fourth.labels == {1: ["manual", 40 if made else 1]}
    if not made:
        lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
        (tmp_path / "j").write_bytes(b"".join(lines[:-1]))
        assert json.loads(lines[-2])["state"] == "planned"
    fourth.labels[1] = ["manual", 0]
    assert counts(untag(photoprism_library, tmp_path / "j")) == {"removed": 0, "gone": 0}
    assert fourth.labels == {1: ["manual", 0]}


@pytest.mark.parametrize("renamed", [False, True])
def test_a_removed_label_with_other_accents_stays_removed(photoprism_library, labelled_photos, tmp_path, renamed):
    """PhotoPrism finds labels by slug, which stays where a label is renamed."""
    fourth = list(photoprism_library.photos.values())[3]
    photoprism_library.labels[80] = "Cafe"
    fourth.labels[80] = ["image", 100]
    if renamed:
        photo = photoprism_library._photo

        def with_new_name(each):
            said = photo(each)
            for label in said["Labels"]:
                label["Label"] |= {"Name": "Bistro"}
            return said

        photoprism_library._photo = with_new_name
    labels = labelled_photos({fourth.id: {"Caf\u00e9": 0.97}})
    assert counts(tag(photoprism_library, labels, tmp_path / "j")).items() >= {"added": 0, "left_out": 1}.items()
    assert fourth.labels == {80: ["image", 100]}


def test_a_journal_that_is_empty_again_is_of_the_next_labels(library, labels, labelled_photos, tmp_path):
    before = library.state()
    counts(tag(library, labels, tmp_path / "j"))
    counts(untag(library, tmp_path / "j"))
    others = labelled_photos({photo: {"e:tent": 0.9} for photo in library.photos}, "others")
    library.fault = lambda method, path: (503, {}, b"") if len(changes(library)) > 25 else None
    tag(library, others, tmp_path / "j")
    library.fault = lambda method, path: None
    assert counts(tag(library, others, tmp_path / "j")).items() >= {"added": 7, "failed": 0}.items()
    counts(untag(library, tmp_path / "j"))
    night(library)
    assert library.state() == before


def test_what_a_key_could_not_write_is_tried_again(immich_library, labelled_photos, tmp_path):
    first = next(iter(immich_library.photos.values()))
    labels, journal = labelled_photos({first.id: {"e:sun": 0.9}}), tmp_path / "j"
    first.about["foreign"] = True
    for _ in range(2):
        assert counts(tag(immich_library, labels, journal)).items() >= {"added": 0, "failed": 1}.items()
    first.about["foreign"] = False
    assert counts(tag(immich_library, labels, journal)).items() >= {"added": 1, "failed": 0}.items()


def test_tags_that_people_removed_and_the_night_cleaned_up_are_taken_back(immich_library, labelled_photos, tmp_path):
    before = immich_library.state()
    labels = labelled_photos({photo: {"e:sun": 0.9} for photo in list(immich_library.photos)[2:4]})
    counts(tag(immich_library, labels, tmp_path / "j"))
    for photo in list(immich_library.photos.values())[2:4]:
        photo.tags.clear()
    night(immich_library)
    assert counts(untag(immich_library, tmp_path / "j")) == {"removed": 0, "gone": 0}
    assert counts(tag(immich_library, labels, tmp_path / "j"))["added"] == 2
    assert counts(untag(immich_library, tmp_path / "j"))["removed"] == 2
    night(immich_library)
    assert immich_library.state() == before


def test_a_label_that_is_refused_leaves_the_others(photoprism_library, labelled_photos, tmp_path):
    fourth = list(photoprism_library.photos.values())[3]
    labels, do = labelled_photos({fourth.id: {"e:tent": 0.97, "e:sun": 0.9}}), photoprism_library.do

    def refuse(_, parts, query, body):
        return (400, {"error": "Invalid name"}) if body["Name"] == "tent" else None

    before_each(photoprism_library, "POST photos/{}/label", refuse)
    for _ in range(2):
        said = counts(tag(photoprism_library, labels, tmp_path / "j"))
        assert (said["added"], said["failed"]) == (1, 1)
        assert fourth.labels == {1: ["manual", 10]}
    photoprism_library.do = do
    assert counts(tag(photoprism_library, labels, tmp_path / "j")).items() >= {"added": 2, "failed": 0}.items()
    assert counts(untag(photoprism_library, tmp_path / "j"))["removed"] == 2
    assert not fourth.labels


def test_a_label_whose_end_would_cost_a_keyword_that_came_meanwhile_stays(
    photoprism_library, labelled_photos, tmp_path
):
    fourth = list(photoprism_library.photos.values())[3]
    labels = labelled_photos({fourth.id: {"Golden Gate": 0.9}})
    counts(tag(photoprism_library, labels, tmp_path / "j"))
    ours = fourth.about["keywords"]
    fourth.about["keywords"] = f"{ours}, old"
    assert counts(untag(photoprism_library, tmp_path / "j")) == {"removed": 0, "gone": 1}
    assert fourth.about["keywords"] == f"{ours}, old"
    fourth.about["keywords"] = ours
    assert counts(untag(photoprism_library, tmp_path / "j")) == {"removed": 1, "gone": 0}
    assert not fourth.labels


def test_a_photo_that_may_not_be_changed_is_counted_and_the_others_go_on(immich_library, labelled_photos, tmp_path):
    first, second, *_ = immich_library.photos
    labels = labelled_photos({photo: {"e:sun": 0.9} for photo in (first, second)})
    counts(tag(immich_library, labels, tmp_path / "j"))

    def forbid(_, parts, query, body):
        return (200, [{"id": first, "success": False, "error": "no_permission"}]) if body["ids"] == [first] else None

    do = immich_library.do
    before_each(immich_library, "DELETE tags/{}/assets", forbid)
    done = untag(immich_library, tmp_path / "j")
    assert counts(done) == {"removed": 1, "gone": 1}
    assert SECRET not in done.stdout + done.stderr
    immich_library.do = do
    assert counts(untag(immich_library, tmp_path / "j")) == {"removed": 1, "gone": 0}


def test_a_plan_that_another_key_cannot_take_back_is_kept(immich_library, labelled_photos, tmp_path):
    before = immich_library.state()
    first = next(iter(immich_library.photos))
    labels, journal = labelled_photos({first: {"e:sun": 0.9}}), tmp_path / "j"
    counts(tag(immich_library, labels, journal))
    planned = b"".join(journal.read_bytes().splitlines(keepends=True)[:-1])
    journal.write_bytes(planned)
    do = immich_library.do
    before_each(immich_library, "DELETE tags/{}/assets", lambda *_: (400, {"message": "no tag.asset access"}))
    assert counts(tag(immich_library, labels, journal)).items() >= {"added": 0, "failed": 1}.items()
    assert journal.read_bytes() == planned
    immich_library.do = do
    assert counts(untag(immich_library, journal)) == {"removed": 1, "gone": 0}
    night(immich_library)
    assert immich_library.state() == before


def test_what_a_person_removed_is_not_counted_as_taken_back(library, labelled_photos, tmp_path):
    fourth = list(library.photos.values())[3]
    labels = labelled_photos({fourth.id: {"e:sun": 0.9, "e:moon": 0.8}})
    counts(tag(library, labels, tmp_path / "j"))
    if isinstance(library, Immich):
        fourth.tags.pop()
    else:
        fourth.labels.popitem()
    assert counts(untag(library, tmp_path / "j")) == {"removed": 1, "gone": 0}


def test_probabilities_are_not_rounded_up_and_names_of_nothing_are_left_out(immich_library, labelled_photos, tmp_path):
    first, second, *_ = immich_library.photos
    labels = labelled_photos({first: {"e:sun": 0.94996, "\u200b\u200e": 0.99}, second: {"e:sun": 0.95}})
    assert counts(tag(immich_library, labels, tmp_path / "j", "--min-probability", ".95"))["labels"] == 1
    assert counts(untag(immich_library, tmp_path / "j"))["removed"] == 1
    assert counts(tag(immich_library, labels, tmp_path / "j"))["added"] == 2
    tagged, _ = immich_library.state()
    assert tagged[first] == ["OpenMOFI/sun/\u2265 90 %", "Places/Hill"]
    assert "OpenMOFI/sun/\u2265 95 %" in tagged[second]
