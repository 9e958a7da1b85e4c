import numpy as np
import pytest
from colours import COLOURS, Eye, drawn_image
from sklearn.linear_model import LogisticRegression

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.run import evaluate
from openmofi.plugins.benchmarks.vtab import NATURAL, SPECIALISED, STRUCTURED, TASKS, open_task

NAMES = list(COLOURS)


def write_lists(folder, *, train=800, validation=200, noise=60.0):
    """As the VTAB-1k archive: one folder of images and lists."""
    (folder / "images/train800val200").mkdir(parents=True)
    (folder / "images/test").mkdir()
    lines = {"train800": [], "val200": [], "test": []}
    for part, (split, count) in enumerate({"train800": train, "val200": validation, "test": 40}.items()):
        for number in range(count):
            place = f"images/{'test' if split == 'test' else 'train800val200'}/{split}{number:06d}.png"
            (folder / place).write_bytes(drawn_image(NAMES[number % 4], 10_000 * part + number, noise))
            lines[split].append(f"{place} {number % 4}")
    for split, some in lines.items():
        (folder / f"{split}.txt").write_text("\n".join(some) + "\n")
    return folder


def write_folders(folder, splits):
    for split, count in splits.items():
        for name in NAMES:
            (folder / split / name).mkdir(parents=True)
        for number in range(count):
            name = NAMES[number % 4]
            (folder / split / name / f"{number}.png").write_bytes(drawn_image(name, number, 90))
    return folder


def run(data, tmp_path, **options):
    return evaluate("vtab", Eye(), data, tmp_path / "cache", Quiet(), **options)


def test_the_published_tasks():
    groups = [task.group for task in TASKS]
    assert [groups.count(group) for group in (NATURAL, SPECIALISED, STRUCTURED)] == [7, 4, 8]
    assert len({name for task in TASKS for name in task.folders}) == sum(len(task.folders) for task in TASKS)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    data = tmp_path_factory.mktemp("vtab")
    write_lists(data / "svhn")
    write_folders(data / "eurosat", {"train800": 800, "val200": 200, "test": 24})
    write_folders(data / "resisc45", {"train800val200": 1000, "test": 24})
    return data


def test_the_protocol(three, tmp_path):
    found = run(three, tmp_path)
    result = found.result
    assert result.counts == {"tasks": 3, "images": 88, "excluded": 0}
    per_task = [result.metrics[f"vtab/{name}/accuracy"] for name in ("svhn", "eurosat", "resisc45")]
    assert result.metrics["vtab/mean_present"] == pytest.approx(np.mean(per_task))
    assert result.metrics["vtab/natural/mean_present"] == per_task[0]
    assert result.metrics["vtab/specialised/mean_present"] == pytest.approx(np.mean(per_task[1:]))
    assert "vtab/mean_19" not in result.metrics
    assert "vtab/structured/mean_present" not in result.metrics
    assert len(result.facts["missing"]) == 16
    assert result.facts["as_published"] is False
    assert [result.facts["tasks"][name]["validation_drawn_here"] for name in ("svhn", "eurosat", "resisc45")] == [
        False,
        False,
        True,
    ]
    assert found.items["part"].to_pylist() == [NATURAL, SPECIALISED, SPECIALISED]
    assert min(per_task) > 0.5
    one = run(three, tmp_path, overrides=["tasks=svhn"]).result
    assert one.metrics["vtab/mean_present"] == per_task[0]


def test_the_probe_is_scikit_learns(three, tmp_path):
    told = run(three, tmp_path, overrides=["tasks=svhn"]).result.facts["tasks"]["svhn"]
    task, eye = next(task for task in TASKS if task.name == "svhn"), Eye()
    splits = open_task(task, three / "svhn", 0)

    def features(part):
        from PIL import Image

        return eye.project_images(
            eye.image_features(np.stack([eye.preprocess(Image.open(part.root / file)) for file in part.files]))
        )

    train = np.concatenate([features(splits.train), features(splits.validation)])
    labels = np.concatenate([splits.train.labels, splits.validation.labels])
    probe = LogisticRegression(C=1 / told["l2"], max_iter=5000, tol=1e-6).fit(train, labels)
    assert told["accuracy"] == pytest.approx(probe.score(features(splits.test), splits.test.labels), abs=0.03)


def test_the_200_are_drawn_by_the_seed(three):
    task = next(task for task in TASKS if task.name == "resisc45")
    first, again, other = (open_task(task, three / "resisc45", seed) for seed in (0, 0, 1))
    assert first.validation.files == again.validation.files != other.validation.files
    assert not set(first.validation.files) & set(first.train.files)
    assert first.drawn


def test_faults_are_one_sentence(three, tmp_path):
    with pytest.raises(OpenMofiError, match="no folder of any task"):
        run(tmp_path, tmp_path)
    with pytest.raises(OpenMofiError, match="no folder of the task dmlab"):
        run(three, tmp_path, overrides=["tasks=dmlab"])
    with pytest.raises(UsageError, match="unknown value 'mnist' for tasks"):
        run(three, tmp_path, overrides=["tasks=mnist"])
    few = tmp_path / "few"
    write_lists(few / "cifar", train=12)
    with pytest.raises(OpenMofiError, match="12 training and 200 validation"):
        run(few, tmp_path)
    (few / "cifar/train800.txt").write_text("images/a.png one\n")
    with pytest.raises(OpenMofiError, match="a path and a class number"):
        run(few, tmp_path)
    (few / "cifar/train800.txt").write_text("../a.png 1\n")
    with pytest.raises(OpenMofiError, match=r"outside its folder: \.\./a\.png"):
        run(few, tmp_path)
    (few / "cifar/train800.txt").unlink()
    with pytest.raises(OpenMofiError, match=r"neither train800\.txt"):
        run(few, tmp_path)


def test_too_many_classes(three):
    camelyon = next(task for task in TASKS if task.name == "patch_camelyon")
    with pytest.raises(OpenMofiError, match="has 4 classes; patch_camelyon has 2"):
        open_task(camelyon, three / "svhn", 0)
