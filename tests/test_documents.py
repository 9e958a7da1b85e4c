"""Every Python block of README.md and docs/ runs, in order and page by page, on the small world.

What a page names and a test cannot have is replaced by something small that can be had: see `STAND_INS`.
"""

import ast
import re
import shutil
import tomllib
from itertools import islice
from pathlib import Path

import pytest

from small_world import SHAPES, drawn_image, write_kb_source

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
# The list of steps in architecture.md quotes the code; the package of extending.md is run by test_extending.py.
NOT_RUN = ("architecture.md", "extending.md")
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if BLOCK.search(page.read_text()) and page.name not in NOT_RUN
]
SMALL_RECIPE = """
model: {dim: 32, image: {spec: "encoder:ENCODER", head: linear}, text: {spec: "encoder:ENCODER", head: linear}}
data: {batch_size: 16, workers: 0, augment: {scale: [1.0, 1.0], flip: 0.0}}
objectives: {margin_softmax: {weight: 1.0, implementation: exact}, contrastive: {weight: 0.3}}
optimizer: {warmup: 2000}
run: {steps: 30, log_every: 5, checkpoint_every: 15}
"""


@pytest.fixture
def stand_ins(small_world, small_encoder, tmp_path, monkeypatch):
    """A folder with what the pages name: shards of pairs, tables, an image, test images; and what is replaced."""
    import numpy as np

    for shard in sorted(small_world.shards.glob("*.tar")):
        shutil.copy(shard, tmp_path / f"pairs-{shard.name}")
    write_kb_source(tmp_path / "my-tables")
    draw = np.random.default_rng(0)
    (tmp_path / "moon.jpg").write_bytes(drawn_image("e:moon", draw))
    (tmp_path / "crane.jpg").write_bytes(drawn_image("e:moon", draw))
    for entity in SHAPES:
        folder = tmp_path / "test-images" / entity.removeprefix("e:")
        folder.mkdir(parents=True)
        for number in range(4):
            (folder / f"{number}.jpg").write_bytes(drawn_image(entity, draw))
    (tmp_path / "small.yaml").write_text(SMALL_RECIPE.replace("ENCODER", small_encoder))
    monkeypatch.chdir(tmp_path)
    return {
        "open_clip:ViT-B-16/laion2b_s34b_b88k": small_encoder,
        '"mofi_vit_b16"': '"small.yaml"',
        'device="cuda"': 'device="cpu"',
    }


def test_there_are_pages_with_blocks():
    assert {"README.md", "python.md"} <= {page.name for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_does_what_it_says(page, stand_ins, capsys):
    """A block's names, by how the page uses them: nothing is lost, something is accepted, what is printed is there."""
    names = {}
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for name, stand_in in stand_ins.items():
            block = block.replace(name, stand_in)
        names |= (own := {"__name__": "__main__"})
        exec(compile(block, page.name, "exec"), own)
        assert "print(" not in block or capsys.readouterr().out.strip()
        names |= own
        if "labels" in own:
            counts = own["labels"].summary
            assert counts["rows_in"] == counts["rows_out"] == sum(counts["status"].values()) > 0
    if page.name == "search.md":
        assert all(names[name].hits for name in ("results", "by_entity", "both", "not_so", "refined", "labelled"))
        assert names["recognition"].entities[0].entity.name == "moon"
        return
    if page.name == "serve.md":
        assert len(names["found"]["hits"]) == 5
        assert names["recognised"]["entities"][0]["entity"]["name"] == "moon"
        return
    assert names["dataset"].summary["images"] > 0
    assert Path("dataset/features.json").read_bytes() == Path("labels/features.json").read_bytes()
    assert len(names["dataset"].vocabulary()) == names["dataset"].summary["entities"] > 0
    if page.name == "python.md":
        assert [candidate.name for candidate in names["reasoning"].candidates if candidate.reason == "accepted"] == [
            "moon"
        ]
        assert names["run"].summary["steps"] == 20 == names["run"].log()[-1]["step"]
        assert 0 < names["result"].metrics[names["result"].headline] <= 1
        assert names["frame"].groupby("status").size().sum() == len(names["frame"]) == counts["rows_out"]
        assert not Path("nowhere").exists()


ALL_PAGES = [ROOT / "README.md", ROOT / "benchmarks/RESULTS.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_what_a_user_needs_comes_first(page):
    """In at most 1,500 words; the rest of a page is below "In depth"."""
    first = re.split(r"^## In depth$", page.read_text("utf-8"), flags=re.M)[0]
    assert len(first.split()) <= 1500


def test_benchmarks_begin_with_five_charts_and_one_table():
    first, rest = (ROOT / "benchmarks/RESULTS.md").read_text("utf-8").split("## In depth")
    charts = re.findall(r"!\[\w+\]\((\S+)\)", first.partition("| benchmark |")[0])
    assert len(charts) == len(set(charts)) == first.count("![") == 5
    assert all((ROOT / "benchmarks" / chart).is_file() for chart in charts)
    assert len(re.findall(r"^\|---", first, re.M)) == 1
    assert len(re.findall(r"^\|---", rest, re.M)) == rest.count("<details") > 20


@pytest.mark.slow
def test_charts_of_equal_results_are_equal(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import charts

    shutil.copytree(ROOT / "benchmarks/results", tmp_path / "results")
    monkeypatch.setattr(charts, "RESULTS", tmp_path / "results")
    for chart in charts.CHARTS:
        drawn = charts.draw(chart).read_bytes()
        assert drawn == charts.draw(chart).read_bytes()
        assert b"<svg" in drawn
        assert len(drawn) < 100_000


def test_each_promise_of_security_names_tests_that_exist():
    text, file = (ROOT / "SECURITY.md").read_text("utf-8"), ""
    promises = re.findall(r"`(tests/[\w/.]+\.py)?(?:::(test_\w+))?`", text)
    for path, name in promises:
        file = path or file
        assert not name or f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{file}::{name}"
    assert sum(bool(path or name) for path, name in promises) >= 25


def test_what_is_installed_is_named_with_its_hash_and_bases_with_their_digest():
    for file in sorted((ROOT / "requirements").glob("*.txt")):
        requirements = re.findall(r"^[a-z].*(?:\n {4}.*)*", file.read_text("utf-8"), re.M)
        assert requirements
        assert all("==" in each and "--hash=sha256:" in each for each in requirements), file
    bases = re.findall(r"^FROM (\S+:\S+)", (ROOT / "Dockerfile").read_text("utf-8"), re.M)
    assert bases
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", base) for base in bases)
    assert all(
        "--require-hashes" in line
        for line in (ROOT / "Makefile").read_text("utf-8").splitlines()
        if line.startswith("LOCKED")
    )


PACKAGE = ROOT / "src/openmofi"


def test_the_tree_in_the_readme_has_every_room_from_the_ground_up():
    """Rooms and plug-ins as they lie in the package; the rooms in the order of the import contract."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (tree,) = re.findall(r"^```text\n(src/openmofi/ .*?)^```", readme, re.M | re.S)
    lines = re.findall(r"^( *)(\w+(?:/|\.py)) +\S", tree.partition("\n")[2], re.M)
    assert len(lines) == tree.count("\n") - 1
    assert all((ROOT / name).is_dir() for indent, name in lines if not indent)
    rooms = [name for indent, name in lines if indent == "  "]
    plugins = [name for indent, name in lines if indent == "    "]
    assert sorted(rooms) == _listed(PACKAGE)
    assert plugins == _listed(PACKAGE / "plugins")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    floors = [
        {room.strip().rpartition(".")[2] for room in floor.split("|")}
        for floor in reversed(contracts[0]["layers"])
        if floor != "studies"
    ]
    stems = iter(name.removesuffix("/").removesuffix(".py") for name in rooms)
    assert [set(islice(stems, len(floor))) for floor in floors] == floors


def _listed(folder):
    """What the tree names of a folder: its packages and modules."""
    names = [f"{path.name}/" for path in folder.iterdir() if (path / "__init__.py").exists()]
    return sorted(names + [path.name for path in folder.glob("*.py") if not path.name.startswith("__")])


def test_architecture_names_files_and_functions_that_exist():
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    named = re.findall(r"`([\w/]+\.(?:py|toml)|[\w/]+/)(?::([\w.]+))?`", text)
    assert sum(bool(name) for _, name in named) > 40
    outputs = {
        "texts/",
        "features/",
        "repeats/",
        "links/",
        "groups/",
        "entities/",
        "adapter/",
        "labels/",
        "src/openmofi/",
    }
    missing = {path for path, _ in named if path not in outputs and not (PACKAGE / path).exists()}
    assert not missing
    for path, name in named:
        source = (PACKAGE / path).read_text("utf-8") if name else ""
        gone = [
            part
            for part in name.split(".")
            if part and not re.search(rf"^ *(async )?(def|class) {part}\b", source, re.M)
        ]
        assert not gone, f"{path}:{name}"
    assert len(text.split()) <= 1200


@pytest.mark.parametrize("plugin", _listed(PACKAGE / "plugins"))
def test_each_plugin_says_what_it_adds(plugin):
    """Its entry points, its extra and the folder or file of its tests are those that exist."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    path = PACKAGE / "plugins" / plugin
    if plugin.endswith(".py"):
        text = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    else:
        text = (path / "README.md").read_text("utf-8")
    module = f"openmofi.plugins.{plugin.removesuffix('/').removesuffix('.py')}"
    added = {
        (group, name)
        for group, points in project["entry-points"].items()
        for name, target in points.items()
        if re.match(rf"{module}\b", target)
    }
    said = re.findall(r"`(openmofi\.\w+)`((?: `[\w.-]+`,?)+)", text)
    assert {(group, name) for group, names in said for name in re.findall(r"[\w.-]+", names)} == added
    extras = re.findall(r"openmofi\[(\w+)\]", text)
    assert set(extras) <= set(project["optional-dependencies"])
    tests = re.findall(r"`(tests/[\w/.]+)`", text)
    assert tests
    assert all((ROOT / path).exists() for path in tests)
    assert len(text.splitlines()) <= 14
