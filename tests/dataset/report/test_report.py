import re
import shutil
from html.parser import HTMLParser

import pytest

from openmofi.dataset import DatasetSettings, ReportSection, build_dataset, write_report
from openmofi.dataset.collect import read_statistics
from openmofi.dataset.report.examples import examples
from openmofi.dataset.report.report import write_card
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError
from openmofi.plugins.audit.audit import audit

VOID = {"meta", "img", "br", "col"}


class Page(HTMLParser):
    """Tags that must balance, and what they hold."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.images, self.unbalanced, self.marks = [], set(), [], [], []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        if tag == "mark":
            self.marks.append(dict(attrs)["class"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def dataset(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "dataset"
    build_dataset(world.labels, out, DatasetSettings(4), report=False)
    return out


@pytest.fixture(scope="module")
def page(world, dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    found = audit(world.labels, world.truth)
    write_report(
        dataset,
        world.labels,
        out,
        audit=found.view({"plain <contrastive> $x$": audit(world.labels, world.truth, split="train")}),
        sections=[ReportSection("Retrieval & more", "<p id='given'>as given</p>", "held-out <entities>")],
        metrics={"retrieval mAP": "61.2 %"},
    )
    return out.read_text()


def test_the_page_is_whole_and_shows_images(page):
    parsed = Page(page)
    assert parsed.unbalanced == []
    assert parsed.open == []
    assert len(parsed.images) > 20
    assert all(source.startswith("data:image/jpeg;base64,") for source in parsed.images)
    assert {"accepted", "rejected"} <= set(parsed.marks)
    assert page.count("<svg") == 5


def test_nothing_is_loaded_and_nothing_runs(page):
    assert "script" not in Page(page).seen
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_texts_and_names_are_escaped(page, world):
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "plain &lt;contrastive&gt; $x$" in page
    assert "<script>alert('x')</script>" in Page(page).words


def test_names_of_a_knowledge_base_are_escaped(world, dataset, lookup, tmp_path):
    write_report(dataset, world.labels, tmp_path / "r.html", kb=lookup)
    text = (tmp_path / "r.html").read_text()
    assert "Thing 0 &lt;b&gt;" in text
    assert "the 0th thing there is" in text
    assert "<b>Thing 0 <b>" not in text


def test_sections_metrics_and_audit_of_the_caller_are_there(page):
    words = Page(page).words
    for expected in (
        "Retrieval & more",
        "held-out <entities>",
        "as given",
        "61.2 %",
        "text-only linker",
        "precision at recall 0.75",
        "heldout_pages",
        "Expected calibration error",
    ):
        assert expected in words


def test_no_figure_stands_in_the_head_twice_and_single_groups_are_left_out(page):
    words = Page(page).words
    assert words.count("precision of labels") == words.count("images kept") == 1
    assert words.index("precision of labels") < words.index("images kept") < words.index("From pairs to dataset")
    assert "heldout_pages" in words


def test_a_label_against_the_text_is_shown_as_settled_by_the_image(rows, small_labels):
    mentions = [{"start": 0, "end": 5, "surface": "apple", "detector": "gazetteer"}]

    def row(key, fruit_by_text):
        judged = [
            rows.judgement("fruit", 0, 0.9, True, "accepted", fruit_by_text),
            rows.judgement("brand", 0, 0.1, False, "below_threshold", 1 - fruit_by_text),
        ]
        return rows.label_row(key, "apple", "labelled", mentions, judged)

    folder = Folder.open(small_labels({"s": [row("against", 0.3), row("with", 0.7)]}))
    found = examples([(folder.shards[0], folder.read(folder.shards[0]))], lambda entity: (entity, ""))
    assert {kind: [one.key for one in pairs] for kind, pairs in found.items()} == {
        "settled": ["against"],
        "accepted": ["with"],
        "rejected": [],
    }


def test_equal_inputs_give_equal_bytes(world, dataset, tmp_path):
    for name in ("a", "b"):
        write_report(dataset, world.labels, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_report_without_reachable_images_is_still_one(rows, tmp_path):
    moved = rows.make_world(tmp_path / "w", shards=2, rows=40, entities=6)
    shutil.rmtree(tmp_path / "w" / "pairs")
    build_dataset(moved.labels, tmp_path / "d", DatasetSettings(2))
    parsed = Page((tmp_path / "d" / "report.html").read_text())
    assert parsed.images == []
    assert "no image" in parsed.words


def test_card_and_report_say_that_the_job_was_blind(world, dataset, lookup, tmp_path):
    labels = Folder.open(world.labels)
    labels.manifest.counts.update(
        expected_precision=0.87, calibration={"blind": True, "separation": 1.7, "information": 1.1}
    )
    write_report(dataset, labels, tmp_path / "report.html", kb=lookup)
    write_card(Folder.open(dataset), labels.manifest, read_statistics(dataset))
    for text in ((tmp_path / "report.html").read_text(), (dataset / "DATASET_CARD.md").read_text()):
        said = Page(text).words
        assert "what is shown lies 1.7 SD above what is not" in said
        assert "openmofi label audit LABELS --sample 100 -o PAGE.html" in said
        assert "0.870 of its labels to be right: an estimate" in said


def test_a_folder_that_is_no_dataset_is_said(world, tmp_path):
    with pytest.raises(OpenMofiError, match="holds 'labels', not 'dataset'"):
        write_report(world.labels, world.labels, tmp_path / "r.html")
