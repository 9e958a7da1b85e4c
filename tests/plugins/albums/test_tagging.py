"""`openmofi albums tag` and `untag`: what is written, and that all of it, and nothing else, can be taken back."""

import json
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from photo_servers import SECRET, Immich, served

from terminal import command, in_process, sentence


def night(stub):
    if isinstance(stub, Immich):
        stub.night()


def tag(stub, labels, journal, *more):
    return in_process("albums", "tag", stub.name, labels, "-o", journal, "--yes", "--json", *more)


def untag(stub, journal):
    return in_process("albums", "untag", stub.name, journal, "--json")


def counts(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def changes(stub):
    return [(method, path) for method, path in stub.asked if method in ("PUT", "POST", "DELETE")]


def test_labels_become_tags_and_are_taken_back(library, labels, tmp_path):
    before, journal = library.state(), tmp_path / "tags.jsonl"
    said = counts(tag(library, labels, journal))
    assert said.items() >= {"images": 7, "labels": 10, "written": True, "failed": 0}.items()
    assert said["added"] + said["left_out"] == 10
    assert said["added"] >= 6
    assert library.state() != before
    back = counts(untag(library, journal))
    assert back == {"removed": said["added"], "gone": 0}
    night(library)
    assert library.state() == before
    library.asked.clear()
    assert counts(untag(library, journal)) == {"removed": 0, "gone": 0}
    assert not changes(library)


def test_immich_has_probabilities_as_tags_below_names(immich_library, labelled_photos, tmp_path):
    first, second, third, *_ = immich_library.photos
    labels = labelled_photos({first: {"e:sun": 0.95, "e:moon": 0.51}, second: {"e:sun": 0.999}, third: {"e:sun": 0.3}})
    assert counts(tag(immich_library, labels, tmp_path / "j"))["added"] == 3
    tagged, _ = immich_library.state()
    assert tagged[first] == ["OpenMOFI/moon/≥ 50 %", "OpenMOFI/sun/≥ 95 %", "Places/Hill"]
    assert tagged[second] == ["OpenMOFI/sun/≥ 99 %", "Places/Hill", "dog"]
    assert tagged[third] == []


def test_photoprism_has_probabilities_as_uncertainties(photoprism_library, labelled_photos, tmp_path):
    fourth = list(photoprism_library.photos)[3]
    labels = labelled_photos({fourth: {"e:sun": 0.95, "e:moon": 0.51}})
    assert counts(tag(photoprism_library, labels, tmp_path / "j"))["added"] == 2
    assert photoprism_library.state()[fourth][0] == [("Moon", "manual", 49), ("Sun", "manual", 5)]


def test_labels_that_photoprism_has_or_a_person_removed_stay_as_they_are(photoprism_library, labelled_photos, tmp_path):
    first = next(iter(photoprism_library.photos))
    labels = labelled_photos({first: {"e:sun": 0.99, "e:moon": 0.99, "e:tent": 0.9}})
    kept = photoprism_library.state()[first][0]
    assert counts(tag(photoprism_library, labels, tmp_path / "j")).items() >= {"added": 1, "left_out": 2}.items()
    assert photoprism_library.state()[first][0] == sorted([*kept, ("Tent", "manual", 10)])


def test_a_label_whose_end_would_cost_a_keyword_is_left_out(photoprism_library, labelled_photos, tmp_path):
    """PhotoPrism takes a label's words from the keywords, whoever wrote these."""
    second = list(photoprism_library.photos)[1]
    before = photoprism_library.state()
    labels = labelled_photos({second: {"e:moon": 0.99, "e:brick": 0.9}})
    assert counts(tag(photoprism_library, labels, tmp_path / "j")).items() >= {"added": 1, "left_out": 1}.items()
    assert [name for name, *_ in photoprism_library.state()[second][0]] == ["Brick"]
    counts(untag(photoprism_library, tmp_path / "j"))
    assert photoprism_library.state() == before


def test_nothing_is_asked_before_yes(library, labels, tmp_path):
    done = in_process("albums", "tag", library.name, labels, "-o", tmp_path / "j")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10 labels of 7 images\n")
    assert "sun (97%)" in done.stdout
    assert "--yes" in done.stdout
    assert not library.asked
    assert not (tmp_path / "j").exists()


def test_a_second_run_adds_nothing(library, labels, tmp_path):
    first = counts(tag(library, labels, tmp_path / "first"))
    tagged = library.state()
    library.asked.clear()
    assert counts(tag(library, labels, tmp_path / "first"))["added"] == first["added"]
    assert not changes(library)
    again = counts(tag(library, labels, tmp_path / "second"))
    assert (again["added"], again["left_out"]) == (0, 10)
    assert counts(untag(library, tmp_path / "second")) == {"removed": 0, "gone": 0}
    assert library.state() == tagged


def test_what_was_taken_back_can_be_written_again(library, labels, tmp_path):
    before = library.state()
    first = counts(tag(library, labels, tmp_path / "j"))
    tagged = library.state()
    counts(untag(library, tmp_path / "j"))
    assert counts(tag(library, labels, tmp_path / "j"))["added"] == first["added"]
    assert library.state() == tagged
    counts(untag(library, tmp_path / "j"))
    night(library)
    assert library.state() == before


def test_only_labels_that_are_probable_enough_are_written(library, labels, tmp_path):
    assert counts(tag(library, labels, tmp_path / "j", "--min-probability", ".9"))["labels"] == 7


def test_tags_that_people_gave_meanwhile_stay(library, labels, tmp_path):
    before = library.state()
    counts(tag(library, labels, tmp_path / "j"))
    photo = list(library.photos.values())[4]
    if isinstance(library, Immich):
        photo.tags.add(library._upsert("mine"))
    else:
        library.labels[90] = "Mine"
        photo.labels[90] = ["manual", 0]
        library._saved(photo)
    counts(untag(library, tmp_path / "j"))
    night(library)
    after = library.state()
    assert after != before
    assert "mine" in str(after).lower()
    assert "openmofi" not in str(after).lower()
    assert str(after).lower().count("'sun'") == str(before).lower().count("'sun'")


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [1, 2, 4, 7])
@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("resumed", [False, True], ids=["at once", "resumed"])
def test_a_run_that_breaks_off_is_taken_back(library, labels, tmp_path, stopped, after, resumed):
    """The server stops answering at a change, before or behind having made it."""
    before, seen = library.state(), []

    def fault(method, path):
        change = (method, path.partition("/")[0]) in (("PUT", "tags"), ("POST", "photos"))
        seen.extend([path] * change)
        if len(seen) < stopped or not (change or len(seen) > stopped):
            return None
        if after and len(seen) == stopped and change:
            library.fault = lambda method, path: (503, {}, b"")
            return None
        return 503, {}, b""

    library.fault = fault
    broken = tag(library, labels, tmp_path / "j")
    library.fault = lambda method, path: None
    if broken.returncode:
        assert "status 503" in sentence(broken)
    if resumed:
        assert counts(tag(library, labels, tmp_path / "j"))["failed"] == 0
        whole = library.state()
    counts(untag(library, tmp_path / "j"))
    night(library)
    assert library.state() == before
    if resumed:
        counts(tag(library, labels, tmp_path / "other"))
        assert library.state() == whole


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 4, 7])
def test_a_run_that_is_killed_is_taken_back(library, labels, tmp_path, at):
    """SIGKILL after the server has made a change, before the run hears of it."""
    before, job, do = library.state(), [], library.do
    made = []

    def killing(operation, *given):
        answer = do(operation, *given)
        if operation in ("PUT tags/assets", "POST photos/{}/label"):
            made.append(operation)
            if len(made) == at:
                job[0].kill()
                job[0].wait()
        return answer

    library.do = killing
    job.append(subprocess.Popen(command("albums", "tag", library.name, labels, "-o", tmp_path / "j", "--yes")))
    assert job[0].wait() != 0
    assert len(made) == at
    assert library.state() != before
    counts(untag(library, tmp_path / "j"))
    night(library)
    assert library.state() == before


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_journal_whose_last_line_is_cut_takes_all_back(library, labels, tmp_path, data):
    """What a crash leaves: a line is begun before the change that it plans, or behind the one that it reports."""
    before, journal = library.state(), tmp_path / "j"
    counts(tag(library, labels, journal))
    lines = journal.read_bytes().splitlines(keepends=True)
    cut = data.draw(st.integers(0, len(lines[-1]) - 1))
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:cut])
    counts(untag(library, journal))
    night(library)
    assert library.state() == before
    journal.unlink()


@pytest.mark.parametrize("status", [401, 403, 429, 500, 302])
def test_a_server_that_refuses_is_one_sentence_and_the_run_goes_on(library, labels, tmp_path, status):
    before = library.state()
    library.fault = lambda method, path: (status, {}, b"<html>") if len(library.asked) > 5 else None
    assert f"status {status}" in sentence(tag(library, labels, tmp_path / "j"))
    library.fault = lambda method, path: None
    assert counts(tag(library, labels, tmp_path / "j"))["failed"] == 0
    library.asked.clear()
    library.fault = lambda method, path: (status, {}, b"<html>") if len(library.asked) > 5 else None
    assert f"status {status}" in sentence(untag(library, tmp_path / "j"))
    library.fault = lambda method, path: None
    counts(untag(library, tmp_path / "j"))
    night(library)
    assert library.state() == before


def test_photos_that_are_gone_are_counted(library, labels, tmp_path):
    before = library.state()
    first, second, *_ = library.photos
    photo = library.photos.pop(first)
    assert counts(tag(library, labels, tmp_path / "j"))["failed"] == 1
    del library.photos[second]
    back = counts(untag(library, tmp_path / "j"))
    assert back["removed"] > 0
    library.photos[first] = photo
    night(library)
    after = library.state()
    kept = after[0] if isinstance(library, Immich) else after
    assert kept == {
        id: said for id, said in (before[0] if isinstance(library, Immich) else before).items() if id != second
    }


def test_what_another_s_key_or_a_proxy_calls_gone_stays_in_the_journal(library, labels, tmp_path):
    """immich answers the same to a stranger; a proxy answers 404 while the server starts."""
    before = library.state()
    added = counts(tag(library, labels, tmp_path / "j"))["added"]
    library.fault = lambda method, path: (404, {}, b'{"message": "Not found or no access"}')
    assert counts(untag(library, tmp_path / "j")) == {"removed": 0, "gone": added}
    library.fault = lambda method, path: (404, {}, b"<html>nginx</html>")
    assert "status 404" in sentence(untag(library, tmp_path / "j"))
    library.fault = lambda method, path: None
    assert counts(untag(library, tmp_path / "j")) == {"removed": added, "gone": 0}
    night(library)
    assert library.state() == before


def test_photos_of_others_are_counted_as_failed(immich_library, labelled_photos, tmp_path):
    first, second, *_ = immich_library.photos
    immich_library.photos[first].about["foreign"] = True
    labels = labelled_photos({first: {"e:sun": 0.9}, second: {"e:sun": 0.9}})
    assert counts(tag(immich_library, labels, tmp_path / "j")).items() >= {"added": 1, "failed": 1}.items()


def test_a_journal_belongs_to_its_server_and_its_labels(library, labels, labelled_photos, tmp_path):
    counts(tag(library, labels, tmp_path / "j"))
    tagged = library.state()
    with served(type(library)({})) as other:
        assert "is the journal of" in sentence(untag(other, tmp_path / "j"))
        assert not other.asked
    others = labelled_photos({next(iter(library.photos)): {"e:tent": 0.9}}, "others")
    assert "other labels" in sentence(tag(library, others, tmp_path / "j"))
    assert library.state() == tagged


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no journal\n",
        b"\xff\xd8\xff\xe0 a photo",
        b'{"journal": "openmofi albums 2", "server": "", "labels": ""}\n',
        b'{"journal": "openmofi albums 1", "server": "%s", "labels": ""}\n{"photo": "../../x", "state": "done"}\n',
        b'{"journal": "openmofi albums 1", "server": "%s", "labels": ""}\n{"photo": 7}\nmore',
        b'{"journal": "openmofi albums 1", "server": "%s", "labels": ""}\n'
        b'{"photo": "x", "state": "done", "ops": [{"name": "n", "id": "../x"}]}\n',
    ],
)
def test_files_that_are_no_journal_are_left_alone(library, labels, tmp_path, content):
    path = tmp_path / "j"
    content = content.replace(b"%s", f"{library.address}{library.api.rstrip('/')}".encode())
    path.write_bytes(content)
    sentence(untag(library, path))
    sentence(tag(library, labels, path))
    assert path.read_bytes() == content
    assert not library.asked


def test_a_missing_journal_is_named(library, tmp_path):
    assert "j is missing" in sentence(untag(library, tmp_path / "j"))
    assert not list(tmp_path.iterdir())


def test_labels_of_other_pairs_are_refused(library, labelled_photos, tmp_path):
    labels = labelled_photos({"folder/photo.jpg": {"e:sun": 0.9}})
    assert "no photo server" in sentence(tag(library, labels, tmp_path / "j"), 2)
    assert not library.asked


def test_the_key_is_not_in_the_journal(library, labels, tmp_path):
    done = in_process("--verbose", "albums", "tag", library.name, labels, "-o", tmp_path / "j", "--yes")
    assert done.returncode == 0, done.stderr
    assert "openmofi albums untag" in done.stdout
    assert SECRET not in (tmp_path / "j").read_text() + done.stdout + done.stderr
