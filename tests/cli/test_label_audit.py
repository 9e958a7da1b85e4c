"""`openmofi label audit`, and `openmofi label --verdicts`: from the page to another threshold."""

import json
import shlex
import shutil

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import openmofi
from judged_page import judged, page_data
from openmofi.cli.main import app
from openmofi.cli.next_steps import options
from openmofi.errors import OpenMofiError
from openmofi.labeling.label_settings import LabelSettings
from openmofi.storage import read_manifest
from terminal import in_process, sentence

pytestmark = pytest.mark.slow


def run(*arguments):
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False, env={"COLUMNS": "80"}
    )


@pytest.fixture(scope="module")
def page(labelled, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    assert run("label", "audit", labelled, "-o", path, "--sample", "60").exit_code == 0
    return path


@pytest.fixture(scope="module")
def verdicts(page, small_world):
    def say(item):
        return "y" if small_world.truth[item["shard"], item["key"]] == item["entity"] else "n"

    return judged(page, page.with_name("verdicts.json"), say)


def test_the_page_names_what_the_knowledge_base_knows(page):
    data = page_data(page)
    assert {item["name"] for item in data["items"]} <= {"sun", "moon", "brick", "lawn", "tent", "peak", "orange"}
    assert all(item["description"] for item in data["items"])
    assert any(kind in stratum["name"] for stratum in data["file"]["strata"] for kind in ("circle", "box"))


def test_a_shard_called_audit_is_a_shard(tmp_path):
    (tmp_path / "audit").mkdir()
    done = in_process(
        "label", "./audit", "--kb", "nowhere", "--encoder", "run:nowhere", "-o", tmp_path / "out", cwd=tmp_path
    )
    assert done.returncode != 0
    assert "LABELS" not in done.stderr


def test_verdicts_are_printed_as_table_and_json(labelled, verdicts):
    shown = run("label", "audit", labelled, "--verdicts", verdicts).stdout
    assert "all labels" in shown
    assert "type circle" in shown
    table, _, after = shown.partition("Choose the threshold")
    assert max(map(len, table.splitlines())) <= 80
    assert "--target-precision 0.9 --verdicts" in after
    result = json.loads(run("label", "audit", labelled, "--verdicts", verdicts, "--json").stdout)
    low, high = result["labels"]["interval"]
    assert low <= result["labels"]["corrected"] <= high
    assert result["labels"]["judged"] == 60 - sum(row["judged"] for row in result["below"].values())


def test_a_sample_larger_than_the_labels_says_so(labelled, tmp_path):
    done = run("label", "audit", labelled, "-o", tmp_path / "all.html", "--sample", "100000")
    assert "; there are no more" in done.stdout
    told = json.loads(
        run("label", "audit", labelled, "-o", tmp_path / "all.html", "--sample", "100000", "--json").stdout
    )
    accepted = openmofi.Labels.open(labelled).accepted().select(["shard", "key", "entity"]).to_pylist()
    assert told["accepted"] == len({tuple(row.values()) for row in accepted})


def test_verdicts_choose_the_threshold_of_another_job(small_world, small_encoder, labelled, page, verdicts, tmp_path):
    def again(name, path):
        labels = openmofi.label(
            small_world.shards,
            kb=small_world.kb,
            encoder=small_encoder,
            out=tmp_path / name,
            cache=labelled,
            target_precision=0.9,
            verdicts=path,
            progress=False,
        )
        return labels.summary

    plain = again("plain", None)
    wrong = judged(page, tmp_path / "wrong.json", lambda item: "y" if item["probability"] > 0.99 else "n")
    right = judged(page, tmp_path / "right.json", lambda item: "y")
    assert again("wrong", wrong)["threshold"] > plain["threshold"] >= again("right", right)["threshold"]
    said = again("said", verdicts)["verdicts"]
    assert (said["judged"], said["unsure"]) == (60, 0)
    accepted = [
        small_world.truth[row["shard"], row["key"]] == row["entity"]
        for row in openmofi.Labels.open(tmp_path / "said").accepted().to_pylist()
    ]
    assert sum(accepted) / len(accepted) == pytest.approx(said["corrected_precision"], abs=0.06)
    assert read_manifest(tmp_path / "said", "labels").inputs["/verdicts"]
    # Labels that verdicts chose are looked at like any other, and their verdicts fit the same job.
    run("label", "audit", tmp_path / "said", "-o", tmp_path / "next.html", "--sample", "20")
    assert page_data(tmp_path / "next.html")["file"]["basis"] == page_data(page)["file"]["basis"]


def test_a_guarantee_from_the_draw_to_the_labels(small_world, small_encoder, labelled, tmp_path):
    def say(item):
        return "y" if small_world.truth[item["shard"], item["key"]] == item["entity"] else "n"

    def audit(*arguments):
        done = run("label", "audit", labelled, *arguments)
        assert done.exit_code == 0
        return " ".join(done.stdout.split())

    def label(name, verdicts, **changes):
        return openmofi.label(
            small_world.shards,
            kb=small_world.kb,
            encoder=small_encoder,
            out=tmp_path / name,
            cache=labelled,
            target_precision=0.9,
            verdicts=verdicts,
            progress=False,
            **changes,
        ).summary

    asked = ("--target-precision", "0.9", "--confidence", "0.9")
    drawn = audit("-o", tmp_path / "page.html", "-n", "60", *asked)
    assert "to show 0.9 right with confidence 0.9. Judge all of them before you save" in drawn
    page = page_data(tmp_path / "page.html")
    plan = page["file"]["plan"]
    assert len(page["items"]) == 60
    assert min(item["probability"] for item in page["items"]) >= plan["least"] == plan["steps"][-1]["threshold"]
    verdicts = judged(tmp_path / "page.html", tmp_path / "v.json", say)
    said = audit("--verdicts", verdicts)
    assert f"from probability {plan['least']:.3f} on: no others were drawn from" in said
    half = judged(tmp_path / "page.html", tmp_path / "half.json", lambda item: "y" * (item["probability"] > 0.95))
    missing = "A guarantee takes a verdict on each of the 60 labels of the page: judge the other"
    assert missing in audit("--verdicts", half)
    summary = label("guaranteed", verdicts, confidence=0.9)
    guarantee = summary["verdicts"]["guarantee"]
    # The figures of the audit are those of the job.
    audited = json.loads(run("label", "audit", labelled, "--verdicts", verdicts, "--json").stdout)["guarantee"]
    assert {name: audited[name] for name in guarantee} == guarantee
    assert summary["threshold"] == guarantee["threshold"] < 1
    passed = [step for step in guarantee["steps"] if step["passed"]][-1]
    accepted = openmofi.Labels.open(tmp_path / "guaranteed").accepted()
    distinct = {tuple(row.values()) for row in accepted.select(["shard", "key", "entity"]).to_pylist()}
    # What was drawn from is what the threshold accepts.
    assert len(distinct) == passed["labels"]
    # A further look has other labels, and goes on where the first one ended.
    assert "Judge all of them" in audit("--verdicts", verdicts, "-o", tmp_path / "more.html", "-n", "20")
    more = page_data(tmp_path / "more.html")
    first, second = ({(item["shard"], item["key"], item["entity"]) for item in each["items"]} for each in (page, more))
    assert not first & second
    assert len(second) == 20
    assert len(more["file"]["plan"]["steps"][0]["earlier"]) == 1
    again = label("again", judged(tmp_path / "more.html", tmp_path / "w.json", say), confidence=0.9)
    assert again["threshold"] <= summary["threshold"]
    # With nothing right nothing is accepted, and why is said.
    wrong = label("wrong", judged(tmp_path / "page.html", tmp_path / "n.json", lambda item: "n"), confidence=0.9)
    assert (wrong["threshold"], wrong["accepted"]) == (1.0, 0)
    assert "Nothing is accepted" in wrong["verdicts"]["why"]


def commands_of(printed):
    return [shlex.split(line)[1:] for line in printed.splitlines() if line.startswith("  openmofi ")]


def test_commands_that_are_printed_work_as_they_stand(small_world, labelled, tmp_path, monkeypatch):
    def right(item):
        return "y" if small_world.truth[item["shard"], item["key"]] == item["entity"] else "n"

    monkeypatch.chdir(tmp_path)
    labels = shutil.copytree(labelled, tmp_path / "my labels")
    drawn = run("label", "audit", labels, "-o", "page.html", "-n", "40")
    judged(tmp_path / "page.html", tmp_path / "verdicts.json", right)
    (said,) = commands_of(drawn.stdout)
    choose, guarantee = commands_of(run(*said).stdout)
    done = run(*choose)
    assert "threshold by 40 verdicts (0 unsure left out); precision corrected by them" in done.stdout
    assert read_manifest(f"{labels}-audited", "labels").inputs["/verdicts"]
    drawn = run(*guarantee)
    first = tmp_path / f"{labels}-audit.html"
    judged(first, tmp_path / "verdicts.json", lambda item: "ny"[item["probability"] > 0.97])
    (said,) = commands_of(drawn.stdout)
    choose, further = commands_of(run(*said).stdout)
    done = run(*choose)
    assert "unsure ones as no: at least 0.9 right with confidence 0.9" in done.stdout
    assert read_manifest(f"{labels}-audited-2", "labels").settings["selection"]["confidence"] == 0.9
    drawn = run(*further)
    # A second page saves under another name: its verdicts go on from the first one's.
    assert page_data(tmp_path / f"{labels}-audit-2.html")["saves"] == "verdicts-2.json"
    assert commands_of(drawn.stdout) == [["label", "audit", str(labels), "--verdicts", "verdicts-2.json"]]
    # Labels that verdicts chose have other thresholds than those that were looked at: the error names these.
    with pytest.raises(OpenMofiError, match=f"They are of the folder {labels}: openmofi label audit"):
        run("label", "audit", f"{labels}-audited-2", "--verdicts", "verdicts.json")
    # Where the last step is the lowest there is, nothing is left to draw from.
    judged(first, tmp_path / "verdicts.json", lambda item: "y")
    said = run("label", "audit", labels, "--verdicts", "verdicts.json").stdout
    assert "Every step passed." in said
    assert len(commands_of(said)) == 1


def test_five_verdicts_are_said_to_be_few(small_world, small_encoder, labelled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("label", "audit", labelled, "-o", "page.html", "-n", "5")
    judged(tmp_path / "page.html", tmp_path / "five.json", lambda item: "y")
    given = ("--kb", small_world.kb, "--encoder", small_encoder, "--cache", labelled, "-o", "out")
    done = run("label", small_world.shards, *given, "--target-precision", "0.9", "--verdicts", "five.json")
    assert "So few verdicts say little: judge 30 or more before you use this threshold." in done.stdout


def test_a_confidence_takes_verdicts(small_world, small_encoder, tmp_path):
    with pytest.raises(OpenMofiError, match="A confidence is bought by verdicts"):
        openmofi.label(
            small_world.shards,
            kb=small_world.kb,
            encoder=small_encoder,
            out=tmp_path / "out",
            target_precision=0.9,
            confidence=0.9,
            progress=False,
        )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "writes a page or reads what it saved"),
        (("-o", "p.html", "--verdicts", "whole.json"), 2, "were not drawn for a guarantee"),
        (("-o", "p.html", "--target-precision", "0.9"), 2, "takes a precision and a confidence"),
        (("-o", "p.html", "--target-precision", "0.9", "--confidence", "1"), 2, "cannot be shown"),
        (("-o", "p.html", "--sample", "0"), 2, "A sample of 0 is none"),
        (("-o", "p.html", "--by", "x"), 2, "'x'"),
        (("--verdicts", "nothing.json"), 1, "cannot be read as verdicts"),
        (("--verdicts", "half.json"), 1, "cannot be read as verdicts"),
    ],
)
def test_bad_input_is_one_sentence(labelled, verdicts, tmp_path, arguments, code, says):
    (tmp_path / "half.json").write_text(verdicts.read_text()[:500])
    (tmp_path / "whole.json").write_text(verdicts.read_text())
    done = in_process("label", "audit", labelled, *arguments, cwd=tmp_path)
    assert says in sentence(done, code)
    assert not (tmp_path / "p.html").exists()


def test_verdicts_need_a_target_and_their_own_labels(small_world, small_encoder, labelled, verdicts, tmp_path):
    def label(**changes):
        openmofi.label(
            small_world.shards,
            kb=small_world.kb,
            encoder=small_encoder,
            out=tmp_path / "out",
            cache=labelled,
            progress=False,
            **changes,
        )

    with pytest.raises(OpenMofiError, match="Verdicts choose the threshold for a target precision"):
        label(verdicts=verdicts)
    with pytest.raises(OpenMofiError, match="are of other labels: of other pairs or other settings"):
        label(verdicts=verdicts, target_precision=0.9, template="{name}")
    assert not (tmp_path / "out").exists()


def test_labels_whose_tables_changed_are_refused_with_their_verdicts(labelled, verdicts, tmp_path):
    other = tmp_path / "labels"
    shutil.copytree(labelled, other)
    path = next((other / "labels").glob("*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 0), path)
    done = in_process("label", "audit", other, "--verdicts", verdicts)
    assert "judges a label that" in sentence(done)


def test_what_a_manifest_names_besides_the_settings_is_no_option():
    stranger = {"trust-me": "run:evil", "seed": 3, "text": "odd", "selection": {"x": 1, "threshold": 0.1, "top_k": 2}}
    assert list(options(stranger, LabelSettings().as_dict())) == ["--top-k", "2", "--seed", "3"]
