"""Label jobs with a judge beyond the encoder: a server in the test, which knows what the small world shows."""

import io
import json
import shutil
import tarfile
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import openmofi
from judged_page import page_data
from openmofi.errors import UsageError
from openmofi.labeling.label_settings import JudgeSettings
from openmofi.plugins import json_server as plugin
from openmofi.plugins.judge import asking
from openmofi.plugins.judge.vision_server import VisionServer
from openmofi.schema import ANSWERS, LABELS, with_judge
from openmofi.storage import read_manifest
from small_world import SHAPES
from terminal import in_process, sentence
from vision_stub import vision_server

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(plugin, "WAIT", 0.0)


@pytest.fixture(scope="session")
def truthful(small_world):
    """Says what an image shows: that of the world's image which is nearest to what was sent."""
    images, entities = [], []
    for (shard, key), entity in small_world.truth.items():
        with tarfile.open(small_world.shards / f"{shard}.tar") as tar:
            data = tar.extractfile(f"{key}.jpg").read()
        if data != b"broken":
            images.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32)[::4, ::4].ravel())
            entities.append(entity)
    known = np.stack(images)

    def reply(image, options):
        seen = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"), np.float32)[::4, ::4].ravel()
        name, colour, shape = SHAPES[entities[int(np.square(known - seen).sum(axis=1).argmin())]]
        shown = f"{name} (a {shape} of colour {colour})"
        return next((f'{{"answer": "{number}"}}' for number, option in options.items() if option == shown), "0")

    return reply


@pytest.fixture
def cache(labelled, tmp_path):
    """Links and features are those of `labelled`, answers are of each test alone."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for folder in labelled.iterdir():
        if folder.is_dir() and folder.name not in ("labels", "answers"):
            shutil.copytree(folder, cache / folder.name)
    return cache


@pytest.fixture
def job(small_world, small_encoder, cache, tmp_path):
    """Label the small world."""

    def run(name="out", **changes):
        given = {"kb": small_world.kb, "encoder": small_encoder, "cache": cache, **changes}
        return openmofi.label(small_world.shards, out=tmp_path / name, progress=False, **given)

    return run


def entities(folder):
    return [
        (path.stem, row["key"], row["text"], each)
        for path in sorted((folder / "labels").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
        for each in row["entities"]
    ]


@pytest.fixture
def all_doubtful(monkeypatch):
    """The small world's encoder leaves 36 mentions in doubt, all but three of them rightly named: of so few and equal
    answers nobody can say whether the judge agrees with everything. Here it is asked about all of which it is not sure.
    """
    monkeypatch.setattr(asking, "DOUBTFUL", (0.005, 0.995))


@pytest.mark.usefixtures("all_doubtful")
def test_a_truthful_judge_finds_more_and_each_row_says_what_it_said(job, truthful, small_world, labelled, tmp_path):
    with vision_server(truthful) as stub:
        labels = job(judge=stub.url)
    judge = labels.summary["judge"]
    assert judge["model"] == "stub-vl"
    assert judge["asked"] == judge["answered"] == judge["doubtful"] > 20
    assert stub.asked == judge["asked"] + judge["decoys"]
    assert judge["says_one_of_them"] > 0.5 > 0.1 > judge["says_one_of_them_of_decoys"]
    assert judge["accepted_without"] == read_manifest(labelled, "labels").counts["accepted"]

    def right(folder):
        accepted = [(*place, each) for *place, _, each in entities(folder) if each["accepted"]]
        return len(accepted), sum(small_world.truth[shard, key] == each["entity"] for shard, key, each in accepted)

    (before, right_before), (after, right_after) = right(labelled), right(tmp_path / "out")
    assert right_after > right_before + 5
    assert right_after / after >= right_before / before
    assert labels.summary["expected_precision"] - right_after / after < 0.03

    said = {"yes": [], "none": [], "other": [], "": []}
    for shard, key, _, each in entities(tmp_path / "out"):
        said[each["judge"]].append(small_world.truth[shard, key] == each["entity"])
    assert all(said["yes"])
    assert said["yes"]
    assert said["none"]
    assert not any(said["none"] + said["other"])
    for path in (tmp_path / "out/labels").glob("*.parquet"):
        assert pq.read_schema(path).remove_metadata() == with_judge(LABELS)


@pytest.mark.usefixtures("all_doubtful")
def test_a_judge_that_always_says_yes_is_found_out_and_changes_nothing(job, labelled, tmp_path):
    with vision_server(lambda image, options: "1") as stub:
        judge = job(judge=stub.url).summary["judge"]
    assert "is no proof that it sees what is shown" in judge["why"]
    assert judge["mean_change"] == 0
    asked = [{**each, "judge": None} for *_, each in entities(tmp_path / "out")]
    assert asked == [{**each, "judge": None} for *_, each in entities(labelled)]


def test_a_cache_that_somebody_wrote_numbers_into_answers_nothing(job, truthful, cache):
    with vision_server(truthful) as stub:
        job(judge=stub.url)
        for path in (cache / "answers").rglob("*.json"):
            marks = list(json.loads(path.read_text()))
            wrong = ["99", "-1", "two", "1.5", ""]
            path.write_text(json.dumps({mark: wrong[number % len(wrong)] for number, mark in enumerate(marks)}))
        judge = job("again", judge=stub.url).summary["judge"]
    assert judge["answered"] == 0
    assert judge["unanswered"] == judge["asked"] + judge["decoys"] > 0


def test_nonsense_is_no_answer_and_is_not_asked_again(job, labelled, tmp_path):
    with vision_server(lambda image, options: "It might be the first one") as stub:
        judge = job(judge=stub.url).summary["judge"]
        asked = stub.asked
        assert asked == judge["asked"] + judge["decoys"]
        job("again", judge=stub.url)
        assert stub.asked == asked
    assert (judge["answered"], judge["unanswered"], judge["rates"]) == (0, asked, None)
    assert f"{asked} of {asked} questions have no answer that can be read" in judge["why"]
    assert {each["judge"] for *_, each in entities(tmp_path / "out")} == {"", "no_answer"}
    assert [each["probability"] for *_, each in entities(tmp_path / "out")] == [
        each["probability"] for *_, each in entities(labelled)
    ]


def test_answers_are_kept_by_image_question_and_model(job, truthful):
    with vision_server(truthful) as stub:
        first = job(judge=stub.url)
        asked = stub.asked
        assert job(judge=stub.url).summary == first.summary
        second = job("second", judge=stub.url, threshold=0.6)
        assert stub.asked == asked
        assert second.summary["judge"]["rates"] == first.summary["judge"]["rates"]
        job("third", judge=stub.url, judge_model="other")
        assert stub.asked == 2 * asked


@pytest.mark.usefixtures("all_doubtful")
def test_a_job_whose_judge_goes_away_goes_on_says_so_and_asks_the_rest_when_begun_anew(
    job, truthful, tmp_path, monkeypatch
):
    monkeypatch.setattr(asking, "_BATCH", 4)
    with vision_server(truthful) as stub:
        stub.reply = lambda image, options: truthful(image, options) if stub.asked <= 20 else 500
        judge = job(judge=stub.url).summary["judge"]
        every = judge["asked"] + judge["decoys"]
        answered = judge["answered"] + judge["decoys_answered"]
        assert 16 <= answered <= 20
        assert f"{every - answered} of {every} questions have no answer" in judge["why"]
        assert "refuses with status 500" in judge["why"]
        # It was given up, and not asked once for each question.
        assert stub.asked <= 20 + plugin.TRIES * (asking._GIVE_UP + asking._AT_ONCE)
        before, stub.reply = stub.asked, truthful
        judge = job(judge=stub.url, restart=True).summary["judge"]
        assert judge["answered"] == judge["asked"]
        assert stub.asked == before + every - answered


def test_a_job_that_was_killed_while_asking_ends_as_one_that_was_not(job, truthful, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "_BATCH", 4)
    with vision_server(truthful) as stub:
        with monkeypatch.context() as patch:
            patch.setattr(VisionServer, "ask", _killed_after(10, VisionServer.ask))
            with pytest.raises(KeyboardInterrupt):
                job(judge=stub.url)
        labels = job(judge=stub.url)
        assert stub.asked <= labels.summary["judge"]["asked"] + labels.summary["judge"]["decoys"] + asking._AT_ONCE
        whole = job("whole", judge=stub.url)
    assert labels.summary == whole.summary
    assert entities(tmp_path / "out") == entities(tmp_path / "whole")


def _killed_after(count, ask):
    left = iter(range(count))

    def killed(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return ask(*arguments)

    return killed


@pytest.mark.usefixtures("all_doubtful")
def test_no_more_is_asked_than_is_allowed_and_what_is_drawn_is_a_part_of_all(job, truthful, tmp_path):
    with vision_server(truthful) as stub:
        every = job("every", judge=stub.url)
        asked = stub.asked
        few = job("few", judge=stub.url, judge_questions=28).summary["judge"]
    # The questions of a smaller draw are among those of a larger one; decoys are drawn among them.
    assert (few["asked"], few["decoys"]) == (21, 7)
    assert stub.asked <= asked + 7
    assert few["doubtful"] == every.summary["judge"]["doubtful"]
    assert "too few to know" in few["why"]
    assert few["why"].endswith("A larger --judge-questions asks about more.")
    assert "--judge-questions" not in every.summary["judge"]["why"]
    drawn = {name: pq.read_table(tmp_path / name / "answers.parquet").to_pylist() for name in ("every", "few")}
    real = {name: {row["content"] for row in rows if not row["decoy"]} for name, rows in drawn.items()}
    assert real["few"] < real["every"]


@pytest.mark.usefixtures("all_doubtful")
def test_a_decoy_is_of_another_image_whose_text_names_none_of_the_options(job, truthful, tmp_path):
    with vision_server(truthful) as stub:
        job(judge=stub.url)
    table = pq.read_table(tmp_path / "out/answers.parquet")
    assert table.schema.remove_metadata() == ANSWERS
    named = {}
    for shard, key, _, each in entities(tmp_path / "out"):
        named.setdefault((shard, key), set()).add(each["entity"])
    decoys = [row for row in table.to_pylist() if row["decoy"]]
    assert len(decoys) >= 20
    assert not any(named[row["shard"], row["key"]] & {*row["options"]} for row in decoys)


@pytest.mark.usefixtures("all_doubtful")
def test_the_order_of_options_is_that_of_the_question(job, tmp_path):
    """Names of two meanings come in either order, whichever is the likelier."""
    first = Counter()
    with vision_server(lambda image, options: first.update([options["1"]] if len(options) > 2 else []) or "0") as stub:
        job(judge=stub.url)
    assert len(first) == 2
    assert min(first.values()) >= 2


@pytest.mark.usefixtures("all_doubtful")
def test_the_threshold_is_that_of_probabilities_with_the_answers(job, truthful, tmp_path):
    plain = job("plain", target_precision=0.97).summary
    with vision_server(truthful) as stub:
        heard = job(judge=stub.url, target_precision=0.97).summary
    assert heard["threshold"] != plain["threshold"]
    assert heard["accepted"] > plain["accepted"]
    probability = np.array([each["probability"] for *_, each in entities(tmp_path / "out")])
    assert probability[probability >= heard["threshold"]].mean() == pytest.approx(0.97, abs=0.01)


@pytest.mark.usefixtures("all_doubtful")
def test_explain_shows_what_the_judge_said(job, truthful, small_world, small_encoder, tmp_path):
    with vision_server(truthful) as stub:
        job(judge=stub.url)
    rows = [row for row in entities(tmp_path / "out") if row[3]["judge"] == "yes"]
    assert rows
    for shard, key, text, each in rows[:3]:
        with tarfile.open(small_world.shards / f"{shard}.tar") as tar:
            image = tar.extractfile(f"{key}.jpg").read()
        explained = openmofi.explain(
            image,
            text,
            kb=small_world.kb,
            encoder=small_encoder,
            calibration=tmp_path / "out/calibration.json",
            cache=tmp_path / "cache",
            progress=False,
        )
        (candidate,) = [one for one in explained.candidates if one.entity == each["entity"]]
        assert candidate.judge == "yes"
        assert candidate.probability == pytest.approx(each["probability"], abs=0.02)


def test_a_reviewer_does_not_see_what_the_judge_said(job, truthful, tmp_path):
    """Neither the page nor the index reads it; whoever reads labels gets the columns that all labels have."""
    with vision_server(truthful) as stub:
        labels = job(judge=stub.url)
    page = tmp_path / "page.html"
    labels.audit_page(page, sample=40)
    for item in page_data(page)["items"]:
        assert not {"judge", "said"} & set(item)
    assert "judge" not in json.dumps(page_data(page))
    assert not [name for name in labels.to_pandas()["entities"].explode().dropna().iloc[0] if name == "judge"]


def test_a_judge_that_is_dead_from_the_start_is_one_sentence_before_any_work(small_world, small_encoder, tmp_path):
    with vision_server(lambda image, options: "0") as stub:
        pass
    done = in_process(
        *("label", small_world.shards, "--kb", small_world.kb, "--encoder", small_encoder, "-o", tmp_path / "out"),
        *("--judge", stub.url),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert f"The judge {stub.url} does not answer" in sentence(done)
    assert not list(tmp_path.glob("out/*/*"))


@pytest.mark.parametrize("address", ["https://user:secret@host/v1", "https://host/v1?key=secret"])
def test_an_address_with_a_secret_is_refused(address):
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as caught:
        JudgeSettings(judge=address)
    assert "secret@" not in str(caught.value)


def test_an_address_that_nobody_answers_for_is_a_wrong_argument(job):
    with pytest.raises(UsageError, match="begins with http:// or https://"):
        job(judge="ftp://host/v1")


def test_no_token_is_written_anywhere(job, truthful, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with vision_server(truthful) as stub:
        job(judge=stub.url)
    assert stub.tokens == {"Bearer sk-very-secret"}
    for path in (*(tmp_path / "out").rglob("*"), *(tmp_path / "cache/answers").rglob("*")):
        assert not path.is_file() or b"sk-very-secret" not in path.read_bytes()


@pytest.mark.usefixtures("all_doubtful")
def test_the_command_says_what_the_judge_is_worth(small_world, small_encoder, cache, tmp_path):
    with vision_server(lambda image, options: "1") as stub:
        done = in_process(
            *("label", small_world.shards, "--kb", small_world.kb, "--encoder", small_encoder, "-o", tmp_path / "out"),
            *("--cache", cache, "--judge", stub.url, "--engine", "processes:2"),
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    judge = read_manifest(tmp_path / "out", "labels").counts["judge"]
    assert f"The judge stub-vl was asked about {judge['asked']} of {judge['doubtful']} doubtful mentions." in said
    assert f"its answers change nothing. Without it {judge['accepted_without']} labels would be accepted." in said
    alone = openmofi.label(
        small_world.shards,
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "alone",
        cache=cache,
        progress=False,
    )
    assert alone.summary["accepted"] == judge["accepted_without"]
