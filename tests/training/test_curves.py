"""The page of learning curves: what it draws of a log, and what it says of the best checkpoint."""

import json
import re

from openmofi.training.report import CLASSES, CURVES, measured, panels_of, write_curves


def line(step, **values):
    return {"step": step, **{name.replace("__", "/"): value for name, value in values.items()}}


LOG = [
    line(
        10,
        loss=2.0,
        loss__contrastive=1.0,
        lr=0.1,
        images_per_s=9.0,
        data_wait=0.01,
        grad_norm__towers=1.0,
        margin_softmax__accuracy=0.2,
        margin_softmax__accuracy__tail=0.1,
    ),
    line(10, retrieval__map=0.3, retrieval__map__tail=0.1, held_out__loss=2.5),
    line(
        20,
        loss=None,
        loss__contrastive=0.5,
        lr=0.05,
        images_per_s=8.0,
        data_wait=0.02,
        grad_norm__towers=2.0,
        margin_softmax__accuracy=0.4,
    ),
    line(20, retrieval__map=0.2, held_out__loss=2.0),
]


def titles(panels):
    return [re.findall(r"<!-- (.*?) -->|>([^<>]+)</text>", str(panel)) for panel in panels]


def test_each_family_of_scalars_is_a_plot():
    shown = [" ".join(text for pair in found for text in pair) for found in titles(panels_of(LOG, 10))]
    for title in (
        "Loss",
        "Held out: retrieval",
        "Training: margin softmax",
        "Norm of the gradient",
        "Pace",
        "Learning rate",
    ):
        assert sum(title in text for text in shown) == 1, title
    loss = next(text for text in shown if "Loss" in text)
    assert all(name in loss for name in ("loss/contrastive", "held_out/loss"))


def test_metrics_of_the_first_best_and_last_evaluation():
    rows = {row["name"]: row for row in measured(LOG, {"metric": "retrieval/map", "value": 0.3, "step": 10})}
    assert list(rows) == ["retrieval/map", "retrieval/map/tail", "held_out/loss"]
    assert rows["retrieval/map"] == {"name": "retrieval/map", "first": 0.3, "last": 0.2, "best": 0.3}
    assert measured(LOG, None)[0]["best"] is None
    assert measured(LOG[::2], None) == []


def test_the_page_is_whole_and_loads_nothing(tmp_path):
    write_curves(tmp_path, "mine")
    assert not (tmp_path / CURVES).exists()  # no log, no page
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in LOG))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/best.json").write_text('{"metric": "retrieval/map", "value": 0.3, "step": 10}')
    band = {"classes": 2, "images": 9, "accuracy": None, "collapsed": 1}
    row = {"class": 0, "name": "<b>Cat</b>", "images": 3, "accuracy": 0.5, "nearest": [{"name": "Dog", "cosine": 0.9}]}
    (tmp_path / CLASSES).write_text(
        json.dumps(
            {
                "sampled": True,
                "collapsed_below": 0.05,
                "collapsed_cosine": 0.95,
                "bands": {"head": band},
                "collapsed": [row],
                "neighbours": [],
            }
        )
    )
    write_curves(tmp_path, "mine & yours")
    page = (tmp_path / CURVES).read_text()
    assert "Training of mine &amp; yours" in page
    assert "the best checkpoint is that of step 10 (retrieval/map 0.300)" in page
    assert "&lt;b&gt;Cat&lt;/b&gt;" in page
    assert "Dog (0.900)" in page
    assert "among the classes that were sampled" in page
    assert not re.search(r"<script|<link|src=|https?://(?!www\.w3\.org|purl\.org|creativecommons\.org)", page)
