"""INSTRE, GLDv2, ILIAS, recall@K, UnED and OVEN on tiny sets in their published layouts, by the authors' formulas."""

import csv
import json
from io import BytesIO

import numpy as np
import pytest
from colours import COLOURS, Eye, drawn_image
from PIL import Image
from scipy.io import savemat
from sklearn.metrics import average_precision_score

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.run import evaluate
from openmofi.pairs import Record, write_tar
from openmofi.plugins.benchmarks.sources import check_source

NAMES = list(COLOURS)


def run(protocol, data, tmp_path, **options):
    return evaluate(protocol, Eye(), data, tmp_path / "cache", Quiet(), **options)


def write_image(path, colour, seed, noise=60.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(BytesIO(drawn_image(colour, seed, noise))).save(path, "PNG")


def vectors(paths, box=None):
    eye = Eye()
    images = [Image.open(path).convert("RGB") for path in paths]
    images = [image.crop(box) for image in images] if box else images
    return eye.project_images(eye.image_features(np.stack([eye.preprocess(image) for image in images])))


def ranking(queries, base):
    return np.argsort(-(queries @ base.T), axis=1, kind="stable")


def told(name, folder):
    return {one.what: (one.ok, one.measured) for one in check_source(name, folder)}


@pytest.fixture
def landmarks(tmp_path):
    """Eight index images of each colour, with twins; queries of three usages."""
    for number, colour in enumerate(NAMES):
        for one in range(8):
            write_image(tmp_path / f"index/{number}/a/{number}{one}.jpg", colour, one // 2, 120)
        write_image(tmp_path / f"test/a/q{number}.jpg", colour, 90, 120)
    usages = ["Private", "Private", "Public", "Ignored"]
    with open(tmp_path / "retrieval_solution_v2.1.csv", "w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["id", "images", "Usage"])
        for number, usage in enumerate(usages):
            images = " ".join(f"{number}{one}" for one in range(8)) if usage != "Ignored" else "None"
            rows.writerow([f"q{number}", images, usage])
    return tmp_path


def test_gldv2(landmarks, tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.features.images.FILES_PER_SOURCE", 7)
    found = run("gldv2", landmarks, tmp_path, failures=2, overrides=["k=5"])
    index = sorted((landmarks / "index").rglob("*.jpg"), key=lambda path: path.relative_to(landmarks).as_posix())
    order = ranking(vectors([landmarks / f"test/a/q{number}.jpg" for number in range(3)]), vectors(index))
    expected = []
    for number, places in enumerate(order):
        right = total = 0.0
        for place, row in enumerate(places[:5], 1):
            if index[row].stem[0] == str(number):
                right += 1
                total += right / place
        expected.append(total / min(8, 5))
    assert found.result.metrics == pytest.approx(
        {"gldv2/map_at_5_private": np.mean(expected[:2]), "gldv2/map_at_5_public": expected[2]}
    )
    assert found.result.counts == {
        "images": 32,
        "queries": 3,
        "queries_listed": 3,
        "positives_missing": 0,
        "excluded": 0,
    }
    assert found.result.facts == {"as_published": True}
    assert [case.score for case in found.failures] == sorted(expected)[:2]
    assert run("gldv2", landmarks, tmp_path).result.headline == "gldv2/map_at_100_private"
    assert told("gldv2", landmarks)["private queries"] == (False, "2 of 750")


def test_gldv2_without_its_files(landmarks, tmp_path):
    path = landmarks / "retrieval_solution_v2.1.csv"
    path.write_text(path.read_text().replace("Public", "Other"))
    with pytest.raises(OpenMofiError, match="unknown usage in line 4"):
        run("gldv2", landmarks, tmp_path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(OpenMofiError, match="is not a solution"):
        run("gldv2", landmarks, tmp_path)


@pytest.fixture
def instances(tmp_path):
    """Objects of two queries, three positives and a text; distractors in two tars; two positives are one image."""
    listed = {"image_query_ids": [], "text_query_ids": [], "positive_ids": []}
    for number, colour in enumerate(NAMES):
        place = f"{colour}_{number:03d}"
        for one in range(2):
            name = f"{place}/query/Q{number:03d}_{one:02d}.jpg"
            write_image(tmp_path / "ilias_core" / name, colour, 70 + one, 120)
            listed["image_query_ids"].append(f"{name},x")
        for one in range(3):
            name = f"{place}/pos/P{number:03d}_{one:02d}.jpg"
            write_image(tmp_path / "ilias_core" / name, colour, max(one, 1), 120)
            listed["positive_ids"].append(f"{name},0.5,3")
        text = f"{place}/query/T{number:03d}.txt"
        (tmp_path / "ilias_core" / text).write_text(f"a {colour} thing\n")
        listed["text_query_ids"].append(text)
    (tmp_path / "image_ids").mkdir()
    for name, lines in listed.items():
        (tmp_path / f"image_ids/{name}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "yfcc100m").mkdir()
    for shard in range(2):
        records = [Record(f"{shard}{one:03d}", drawn_image(NAMES[one % 4], 200 + one, 120), "") for one in range(9)]
        write_tar(tmp_path / f"yfcc100m/{shard:05d}.tar", records)
    return tmp_path


def test_ilias(instances, tmp_path):
    found = run("ilias", instances, tmp_path, failures=1, overrides=["k=6"])
    assert found.result.counts == {
        "image_queries": 8,
        "text_queries": 4,
        "positives": 12,
        "distractors": 18,
        "excluded": 0,
    }
    core = instances / "ilias_core"
    positives = sorted(core.rglob("pos/*.jpg"))
    images = sorted(core.rglob("query/*.jpg"))
    texts = sorted(core.rglob("query/*.txt"))
    more = tmp_path / "more"
    for shard in range(2):
        for one in range(9):
            more.mkdir(exist_ok=True)
            (more / f"{shard}{one}.png").write_bytes(drawn_image(NAMES[one % 4], 200 + one, 120))
    base = vectors([*positives, *sorted(more.iterdir())])
    names = [path.relative_to(core).parts[0] for path in positives] + [""] * 18
    expected = {}
    for metric, paths, queries in (
        ("map_at_6", images, vectors(images)),
        ("text_map_at_6", texts, Eye().embed_texts([path.read_text() for path in texts])),
    ):
        scores, precisions = queries @ base.T, []
        for path, of_query, order in zip(paths, scores, ranking(queries, base)[:, :6], strict=True):
            hits = np.array(names)[order] == path.relative_to(core).parts[0]
            # The authors' own: scikit-learn's, for which equal scores are one step.
            precision = average_precision_score(hits, of_query[order]) * hits.sum() / 3 if hits.any() else 0
            precisions.append(precision)
        expected[f"ilias/{metric}"] = np.mean(precisions)
    assert found.result.metrics == pytest.approx(expected)
    assert 0 < expected["ilias/map_at_6"] < 1
    assert len(found.failures) == 1
    alone = run("ilias", instances, tmp_path, overrides=["distractors=", "k=6"]).result
    assert alone.counts["distractors"] == 0
    assert alone.metrics["ilias/map_at_6"] > expected["ilias/map_at_6"]
    assert told("ilias", instances)["files of ilias_core on disk"] == (True, "24 of 24")


def test_ilias_with_faults(instances, tmp_path):
    ids = instances / "image_ids/positive_ids.txt"
    ids.write_text("\n".join(line for line in ids.read_text().splitlines() if "red" not in line))
    with pytest.raises(OpenMofiError, match=r"red_002/query/Q002_00\.jpg has no positives"):
        run("ilias", instances, tmp_path)
    ids.write_text("nonsense\n")
    with pytest.raises(OpenMofiError, match="a line that is no identifier"):
        run("ilias", instances, tmp_path)


def trapezoid(ranks, count):
    """Oxford's area under precision over recall, rank by rank from 0."""
    area, recall, precision = 0.0, 0.0, 1.0
    for found, rank in enumerate(ranks, 1):
        before = 1.0 if rank == 0 else (found - 1) / rank
        precision = found / (rank + 1)
        area += (found / count - recall) * (before + precision) / 2
        recall = found / count
    return area


def test_instre(tmp_path):
    names = []
    for number, colour in enumerate(NAMES):
        for one in range(5):
            names.append(f"INSTRE-S1/{number}/{one}.png")
            write_image(tmp_path / names[-1], colour, one, 120)
    queries, cells = [], np.empty((1, 3), object)
    for number in range(3):
        queries.append(f"INSTRE-S1/{number}/q.png")
        write_image(tmp_path / queries[-1], NAMES[number], 77, 120)
        cell = np.empty((1, 2), object)
        cell[0, 0], cell[0, 1] = np.arange(5)[None] + 5 * number + 1, np.array([[1, 1, 5, 4]])
        cells[0, number] = cell
    savemat(
        tmp_path / "gnd_instre.mat",
        {
            "imlist": np.array([names], object),
            "qimlist": np.array([queries], object),
            "gnd": np.array([[(cell[0, 0], cell[0, 1]) for cell in cells[0]]], [("ok", object), ("bbx", object)]),
        },
    )
    result = run("instre", tmp_path, tmp_path, failures=1).result
    order = ranking(
        vectors([tmp_path / name for name in queries], (1, 1, 6, 5)), vectors([tmp_path / name for name in names])
    )
    expected = [trapezoid(np.flatnonzero(places // 5 == number), 5) for number, places in enumerate(order)]
    assert result.metrics == {"instre/map": pytest.approx(np.mean(expected))}
    assert result.counts == {"images": 20, "queries": 3, "objects": 3, "excluded": 0}
    assert told("instre", tmp_path)["images on disk"] == (True, "23 of 23")
    (tmp_path / "gnd_instre.mat").write_bytes(b"no matrix")
    with pytest.raises(OpenMofiError, match="is not INSTRE's ground truth"):
        run("instre", tmp_path, tmp_path)


def products(folder):
    lines = ["image_id class_id super_class_id path"]
    for number in range(8):
        for one in range(3):
            path = f"{NAMES[number % 4]}_final/{number}_{one}.JPG"
            write_image(folder / path, NAMES[number % 4], one + number // 4, 150)
            lines.append(f"{len(lines)} {number + 1} 1 {path}")
    (folder / "Ebay_test.txt").write_text("\n".join(lines))


def birds(folder):
    images, labels = [], []
    for number in range(98, 106):
        for one in range(3):
            path = f"{number:03d}.{NAMES[number % 4]}/{one}.jpg"
            write_image(folder / "images" / path, NAMES[number % 4], one + number // 4, 150)
            images.append(f"{len(images) + 1} {path}")
            labels.append(f"{len(images)} {number}")
    (folder / "images.txt").write_text("\n".join(images))
    (folder / "image_class_labels.txt").write_text("\n".join(labels))


def species(folder):
    lines = []
    for number in range(8):
        for one in range(3):
            lines.append(f"train_val2018/Aves/{number}/{one}.jpg")
            write_image(folder / lines[-1], NAMES[number % 4], one + number // 4, 150)
    (folder / "Inat_dataset_splits").mkdir()
    (folder / "Inat_dataset_splits/Inaturalist_test_set1.txt").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("write", "name", "classes", "published"),
    [(products, "sop", 8, "60,502"), (birds, "cub", 5, "5,924"), (species, "inaturalist", 8, "136,093")],
)
def test_recall(write, name, classes, published, tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    found = run("recall", tmp_path / "data", tmp_path, failures=3, overrides=["recall_at=1,4"])
    assert (found.result.data["dataset"], found.result.counts["classes"]) == (name, classes)
    keys, labels = found.items["item"].to_pylist(), np.array(found.items["group"].to_pylist())
    scores = (base := vectors([tmp_path / "data" / key for key in keys])) @ base.T
    expected = {1: 0.0, 4: 0.0}
    for query, of_query in enumerate(scores):
        order = np.argsort(-of_query, kind="stable")
        others = order[order != query]
        for k in expected:
            expected[k] += (labels[others[:k]] == labels[query]).any() / len(keys)
    assert found.result.metrics == pytest.approx({f"recall/recall_at_{k}": value for k, value in expected.items()})
    assert 0 < expected[1] < expected[4]
    assert told(name, tmp_path / "data")["test images listed"] == (False, f"{3 * classes} of {published}")
    with pytest.raises(UsageError, match="is more than"):
        run("recall", tmp_path / "data", tmp_path, overrides=["recall_at=1000"])


@pytest.fixture
def universe(tmp_path):
    """Three domains of UnED: two that are their own index, one with an index and queries of two classes."""
    listed = {}

    def add(domain, kind, number, seed, classes):
        path = f"{domain}/{kind}/{number}_{seed}.png"
        write_image(tmp_path / "images" / path, NAMES[number % 4], seed, 150)
        listed.setdefault((domain, kind), []).append({"path": path, "class_id": classes})

    for number in range(8):
        for one in range(2 + number % 3):
            add("cars", "test", number, one + number // 4, number)
            add("rp2k", "test", number, one + 3, number)
            add("met", "index", number, one + 1, number)
    for number in range(4):
        add("met", "test", number, 40, [number, number + 4])
    add("met", "test", 3, 41, [99])
    for (domain, kind), rows in listed.items():
        (tmp_path / f"info_files/{domain}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"info_files/{domain}/{kind}.json").write_text(json.dumps(rows))
    return tmp_path, listed


def authors_universal(relevances, positives, own):
    """R@1 and mMP@5 of one query as knn_utils.py computes them: `relevances` of the whole ranking."""
    top = 5 + own
    correct = sum(relevances[place] for place in range(min(top, positives))) - own
    return relevances[1 if own else 0], correct / min(positives - own, 5)


def test_uned(universe, tmp_path):
    root, listed = universe
    found = run("uned", root, tmp_path, overrides=["domains=cars,met,rp2k"])
    index = (
        [("cars", row) for row in listed["cars", "test"]]
        + [("met", row) for row in listed["met", "index"]]
        + [("rp2k", row) for row in listed["rp2k", "test"]]
    )
    base = vectors([root / "images" / row["path"] for _, row in index])
    expected = {}
    for domain in ("cars", "met", "rp2k"):
        outcomes = []
        for row in listed[domain, "test"]:
            labels = row["class_id"] if isinstance(row["class_id"], list) else [row["class_id"]]
            relevant = np.array([place == domain and one["class_id"] in labels for place, one in index])
            if relevant.any():
                order = ranking(vectors([root / "images" / row["path"]]), base)[0]
                outcomes.append(authors_universal(relevant[order].astype(int), relevant.sum(), domain != "met"))
        expected[domain] = np.mean(outcomes, axis=0)
    for place, metric in enumerate(("recall_at_1", "mmp_at_5")):
        mean = np.mean([both[place] for both in expected.values()])
        assert found.result.metrics[f"uned/{metric}"] == pytest.approx(mean)
        for domain, both in expected.items():
            assert found.result.metrics[f"uned/{domain}/{metric}"] == pytest.approx(both[place])
    assert 0 < found.result.metrics["uned/mmp_at_5"] < 1
    assert found.result.counts["queries_without_positives"] == 1
    assert found.result.facts == {"as_published": False}
    assert told("uned", root)["met: index images on disk"][0]
    with pytest.raises(OpenMofiError, match="Unknown domains moon"):
        run("uned", root, tmp_path, overrides=["domains=moon"])
    with pytest.raises(OpenMofiError, match="is no split of UnED"):
        run("uned", root, tmp_path)


@pytest.fixture
def recognised(tmp_path):
    """Questions of both splits about images of four colours; the titles of the entities say them, mostly."""
    entities = {f"Q{number}": colour for number, colour in enumerate(NAMES)} | {"Q9": "grey"}
    number = 0
    for split in ("entity", "query"):
        rows = []
        for part in ("seen", "unseen"):
            for one in range(6):
                entity = list(entities)[(one + (part == "unseen")) % 5]
                colour = NAMES[(one * 3 + (split == "query")) % 4] if one % 2 else NAMES[int(entity[1]) % 4]
                image = f"oven_{number:08d}"
                write_image(tmp_path / f"oven_images/{image[-8:-6]}/{image}.JPEG", colour, number, 40)
                rows.append(
                    {
                        "data_id": f"{split}_{number}",
                        "image_id": image,
                        "question": "what is it?",
                        "entity_id": entity,
                        "entity_text": entities[entity],
                        "data_split": f"val_{split}_{part}",
                    }
                )
                number += 1
        (tmp_path / f"oven_{split}_val.jsonl").write_text("\n".join(map(json.dumps, rows)))
    titles = [{"wikidata_id": entity, "wikipedia_title": title} for entity, title in entities.items()]
    (tmp_path / "Wiki6M_ver_1_0_title_only.jsonl").write_text("\n".join(map(json.dumps, titles)) + "\n")
    return tmp_path, entities


def authors_oven(rows, answers):
    """`evaluate_oven_full`, in percent with two digits."""

    def mean(*shares):
        return len(shares) / sum(1 / (share if share != 0 else 1e-12) for share in shares)

    scores, parts = {}, {}
    for split in ("query", "entity"):
        for part in ("seen", "unseen"):
            right = [
                answers[row["data_id"]] == row["entity_id"]
                for row in rows
                if row["data_split"] == f"val_{split}_{part}"
            ]
            parts[f"{split}_{part}"] = round(sum(right) / len(right) * 100, 2)
        scores[split] = mean(parts[f"{split}_seen"], parts[f"{split}_unseen"])
    return parts, round(mean(*scores.values()), 2)


def test_oven(recognised, tmp_path):
    root, entities = recognised
    found = run("oven", root, tmp_path, failures=2)
    rows = [
        json.loads(line)
        for split in ("entity", "query")
        for line in (root / f"oven_{split}_val.jsonl").read_text().splitlines()
    ]
    texts = Eye().embed_texts(list(entities.values()))
    answers = {}
    for row in rows:
        (image,) = (root / "oven_images").rglob(f"{row['image_id']}.*")
        answers[row["data_id"]] = list(entities)[int((vectors([image]) @ texts.T).argmax())]
    parts, whole = authors_oven(rows, answers)
    for name, percent in parts.items():
        assert 100 * found.result.metrics[f"oven/{name}/accuracy"] == pytest.approx(percent, abs=0.006)
    assert 100 * found.result.metrics["oven/harmonic_mean"] == pytest.approx(whole, abs=0.02)
    assert 0 < whole < 100
    assert found.result.counts["candidates"] == 5
    assert found.result.facts["as_published"]
    assert {case.score for case in found.failures} == {0}
    known = run("oven", root, tmp_path, overrides=["candidates=known"]).result
    assert known.metrics == found.result.metrics
    assert not known.facts["as_published"]
    asked = run("oven", root, tmp_path, overrides=["question_weight=1"]).result
    assert asked.metrics["oven/harmonic_mean"] < found.result.metrics["oven/harmonic_mean"]
    assert all(ok for ok, _ in told("oven", root).values())


def test_oven_with_faults(recognised, tmp_path):
    root, _ = recognised
    path = root / "oven_query_val.jsonl"
    row = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps({name: value for name, value in row.items() if name != "entity_id"}))
    with pytest.raises(OpenMofiError, match=r"Line 1 of .* cannot be read: .*`entity_id`"):
        run("oven", root, tmp_path)
    path.write_text(json.dumps(row | {"data_split": "val_query"}))
    with pytest.raises(OpenMofiError, match="has the data_split 'val_query'"):
        run("oven", root, tmp_path)
