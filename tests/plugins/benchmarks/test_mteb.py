"""The real mteb, offline, on a task that the test writes."""

from io import BytesIO

import numpy as np
import pytest
from colours import COLOURS, Eye, drawn_image
from PIL import Image

from openmofi.errors import UsageError
from openmofi.evaluation.result import read_result, result_path
from openmofi.plugins.benchmarks.compare import compare_results
from openmofi.plugins.benchmarks.mteb import run_tasks

pytestmark = pytest.mark.slow  # mteb, datasets and sentence_transformers take seconds to import
NAMES = sorted(COLOURS)


@pytest.fixture
def task(monkeypatch):
    """A zero-shot task of four colours; nothing may use the network."""
    pytest.importorskip("mteb")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification

    class Colours(AbsTaskZeroShotClassification):
        metadata = TaskMetadata(
            name="Colours",
            description="Colours by name.",
            reference=None,
            dataset={"path": "none", "revision": "7"},
            type="ZeroShotClassification",
            category="i2t",
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="accuracy",
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            modalities=["text", "image"],
            sample_creation=None,
            bibtex_citation=None,
        )

        def load_data(self, **_):
            images = [Image.open(BytesIO(drawn_image(name, one, 150))) for name in NAMES for one in range(6)]
            rows = datasets.Dataset.from_dict({"image": images, "label": np.repeat(np.arange(4), 6).tolist()})
            self.dataset = datasets.DatasetDict({"test": rows.cast_column("image", datasets.Image())})
            self.data_loaded = True

        def get_candidate_labels(self):
            return [f"a photo of a {name} thing" for name in NAMES]

    return Colours()


def test_a_task_runs_and_its_result_is_ours(task, tmp_path):
    (result,) = run_tasks(Eye(), [task], out=tmp_path, batch_size=5)
    eye = Eye()
    images = eye.project_images(
        eye.image_features(
            np.stack(
                [
                    eye.preprocess(Image.open(BytesIO(drawn_image(name, one, 150))).convert("RGB"))
                    for name in NAMES
                    for one in range(6)
                ]
            )
        )
    )
    answers = (images @ eye.embed_texts(task.get_candidate_labels()).T).argmax(1)
    expected = (answers == np.repeat(np.arange(4), 6)).mean()
    assert 0.5 < expected < 1
    assert result.metrics["mteb-Colours/accuracy"] == result.metrics[result.headline] == pytest.approx(expected)
    path = result_path(tmp_path, result)
    assert read_result(path).metrics == result.metrics
    (compared,) = compare_results([path, path])
    assert "mteb-Colours/accuracy" in compared.metrics


def test_an_encoder_without_texts_is_told_so(task):
    with pytest.raises(UsageError, match=r"mteb cannot run 'eye': .*none overlap with task Colours"):
        run_tasks(Eye(texts=False), [task])


def test_unknown_tasks(monkeypatch):
    def unknown(name):
        raise KeyError(name)

    # The registries import every task of mteb, for which a test is too short.
    mteb = pytest.importorskip("mteb")
    monkeypatch.setattr(mteb, "get_benchmark", unknown)
    monkeypatch.setattr(mteb, "get_task", unknown)
    with pytest.raises(UsageError, match="mteb has no task or benchmark 'NoSuchTask'"):
        run_tasks(Eye(), ["NoSuchTask"])
