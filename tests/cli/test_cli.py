"""The command line as a whole: help, exit codes, what is imported, JSON for programs, tables for people."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from openmofi import __version__, cli
from openmofi.cli.main import app, commands
from openmofi.schema import TRUTH
from openmofi.storage import write_table
from small_world import SHAPES, drawn_image
from terminal import in_process, openmofi, sentence

HEAVY = ("torch", "transformers", "spacy", "ray", "matplotlib", "scipy", "numpy", "pyarrow", "PIL", "timm", "open_clip")
VERBS = {
    (): (
        "--debug",
        "--version",
        "label",
        "label check",
        "label audit",
        "explain",
        "kb",
        "dataset",
        "link",
        "encoder",
        "export",
        "jobs",
        "sample",
        "demo",
        "schema",
    ),
    ("albums",): ("read", "tag", "untag"),
    ("albums", "read"): ("--out", "--limit", "--restart", "--json"),
    ("albums", "tag"): ("--out", "--min-probability", "--kb", "--yes", "--json"),
    ("albums", "untag"): ("--json",),
    ("demo",): ("--tiny", "--out", "--max-entities", "--restart", "--json"),
    ("schema",): ("command",),
    ("label",): (
        "--kb",
        "--encoder",
        "--out",
        "--threshold",
        "--target-precision",
        "--adapt",
        "--on-damage",
        "--engine",
        "--cache",
        "--verdicts",
        "--watch",
        "--json",
    ),
    ("label check",): ("--limit", "--text-column", "--image-root", "--encoding", "--json"),
    ("label audit",): ("--out", "--verdicts", "--sample", "--by", "--seed", "--kb", "--json"),
    ("explain",): ("--image", "--text", "--kb", "--encoder", "--calibration", "--json"),
    ("kb",): (
        "build",
        "info",
        "verify",
        "lookup",
        "add-images",
        "diff",
        "update",
        "sample",
        "export",
        "union",
        "publish",
        "fetch",
        "anchors",
    ),
    ("kb", "anchors"): ("--out", "--json"),
    ("kb", "build"): ("table", "wordnet", "starter", "sample", "wikidata"),
    ("kb", "build", "table"): ("--out", "--candidates", "--check", "--json"),
    ("kb", "build", "wordnet"): ("--out", "--candidates", "--json"),
    ("kb", "build", "starter"): ("--out", "--from", "--candidates", "--restart", "--json"),
    ("kb", "build", "sample"): ("--out", "--json"),
    ("kb", "build", "wikidata"): (
        "--out",
        "--languages",
        "--transliterate",
        "--kinds",
        "--drop",
        "--visual-only",
        "--memory",
        "--work",
        "--anchors",
        "--pageviews",
        "--redirects",
        "--external-ids",
        "--json",
    ),
    ("kb", "add-images"): ("--images", "--max", "--json"),
    ("kb", "diff"): ("--labels", "--out", "--json"),
    ("kb", "update"): ("--out", "--anchors", "--pageviews", "--redirects", "--memory", "--work", "--json"),
    ("kb", "sample"): ("--out", "--types", "--entities", "--labels", "--max", "--restart", "--json"),
    ("kb", "union"): ("--out", "--same-as", "--weights", "--candidates", "--restart", "--json"),
    ("kb", "publish"): ("--out", "--licence", "--part-size", "--restart", "--json"),
    ("kb", "fetch"): ("--out", "--json"),
    ("kb", "export"): ("--out", "--restart", "--json"),
    ("kb", "verify"): ("--json",),
    ("kb", "info"): ("--json",),
    ("kb", "lookup"): ("--limit", "--json"),
    ("dataset",): ("build", "audit"),
    ("dataset", "build"): ("--out", "--min-images", "--max-images", "--near-duplicates", "--kb", "--json"),
    ("dataset", "audit"): ("--truth", "--at-recall", "--split", "--json"),
    ("train",): ("--out", "--set", "--dataset", "--kb", "--resume", "--show", "--list", "--json"),
    ("dataset", "export"): ("--json",),
    ("study",): ("size",),
    ("study", "size"): ("--json",),
    ("eval", "mteb"): ("--json",),
    ("link",): ("examples", "train"),
    ("link", "examples"): ("--out", "--parts", "--candidates", "--descriptions", "--split", "--json"),
    ("link", "train"): ("--out", "--set", "--examples", "--resume", "--show", "--list", "--json"),
    ("link", "rerank"): ("--kb", "--out", "--with", "--detector", "--json"),
    ("eval",): ("--list", "PROTOCOL", "compare", "sources"),
    ("eval", "sources"): ("--check", "--json"),
    ("eval", "PROTOCOL"): (
        "--encoder",
        "--linker",
        "--data",
        "--out",
        "--cache",
        "--set",
        "--features",
        "--half",
        "--json",
    ),
    ("eval", "compare"): ("--out", "--format", "--json"),
    ("encoder",): ("info",),
    ("encoder", "list"): ("--json",),
    ("encoder", "bench"): ("--pairs", "--count", "--repeats", "--device", "--json"),
    ("encoder", "compare"): ("--pairs", "--kb", "--target-precision", "--cache", "--json"),
    ("encoder", "info"): ("--json",),
    ("reinforce",): ("--labels", "--teachers", "--augs", "--captions", "--tune-scale", "--out", "--json"),
    ("export",): ("--out", "--format", "--precision", "--images", "--max-loss", "--json"),
    ("index",): ("build", "add", "remove", "info", "verify", "compact", "map", "verdicts", "publish", "fetch"),
    ("index", "publish"): ("--out", "--part-size", "--json"),
    ("index", "fetch"): ("--out", "--json"),
    ("index", "map"): ("--seed", "--json"),
    ("index", "verdicts"): ("--out", "--from", "--labels", "--json"),
    ("index", "build"): ("--encoder", "--out", "--kb", "--json"),
    ("index", "add"): ("--json",),
    ("index", "remove"): ("--json",),
    ("index", "info"): ("--json",),
    ("index", "verify"): ("--json",),
    ("index", "compact"): ("--json",),
    ("search",): ("--text", "--entity", "--less", "--region", "--labelled", "--until", "--html", "--open", "--json"),
    ("recognise",): (
        "--index",
        "--out",
        "--limit",
        "--encoder",
        "--cache",
        "--device",
        "--engine",
        "--restart",
        "--json",
    ),
    ("serve",): (
        "--host",
        "--port",
        "--token",
        "--token-file",
        "--no-token",
        "--allow-host",
        "--trust-proxy",
        "--labels",
        "--open",
        "--max-upload-mb",
        "--rate",
        "--encoder",
        "--device",
    ),
    ("mcp",): ("--encoder", "--device"),
    ("jobs",): ("status", "retry"),
    ("jobs", "retry"): ("OUT",),
    ("jobs", "status"): ("--json",),
    ("fetch",): ("--out", "--url-column", "--retry-failed", "--ignore-robots", "--json"),
    ("sample",): ("fetch", "world", "encoder", "demo"),
    ("sample", "world"): ("--out", "--seed", "--max-entities", "--json"),
    ("sample", "encoder"): ("--kb", "--out", "--json"),
    ("sample", "demo"): ("--out", "--max-entities", "--json"),
}
with_encoder = pytest.mark.slow


def run(*arguments: str | Path):
    """A command in this process: quicker where only the output counts."""
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False, env={"COLUMNS": "200"}
    )


def parsed(*arguments: str | Path) -> dict:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_help_names_its_options(verb):
    done = run(*verb, "--help")
    assert done.exit_code == 0
    for option in VERBS[verb]:
        assert re.search(rf"(?m)^\s+(-\w, )?{option}\b", done.stdout), option


def test_the_table_above_knows_every_verb():
    assert {name for name, _ in commands()} - {("sample", "fetch")} == set(VERBS)


def test_help_is_a_process_that_ends_well():
    done = openmofi("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")
    assert openmofi("--version").stdout == f"openmofi {__version__}\n"


def test_no_arguments_show_the_help():
    for verb in ((), ("kb",), ("dataset",), ("sample",)):
        done = run(*verb)
        assert done.exit_code in (0, 2)
        assert "Usage: " in done.output
        assert "--help" in done.output


@pytest.mark.parametrize(
    "arguments",
    [["nosuch"], ["kb", "nosuch"], ["label"], ["label", "--nosuch"], ["kb", "build", "magic", "x", "-o", "y"]],
)
def test_unknown_verbs_and_options_exit_with_2(arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Usage: " in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "code",
    [
        "import openmofi",
        "import openmofi.cli.main",
        "import sys\nsys.argv = ['openmofi', '--help']\nfrom openmofi.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass",
        "import sys\nsys.argv = ['openmofi', 'label', '--help']\nfrom openmofi.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass",
    ],
)
def test_help_imports_nothing_heavy(code):
    probe = f"{code}\nimport sys\nprint()\nprint(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == []


def test_looking_into_a_knowledge_base_needs_no_torch(small_world):
    probe = (
        f"import sys\nsys.argv = ['openmofi', 'kb', 'lookup', {str(small_world.kb)!r}, 'sun', '--json']\n"
        "from openmofi.cli.main import run\ntry:\n    run()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'transformers', 'spacy', 'ray', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == []


def test_each_verb_is_a_file_and_no_verb_imports_heavily():
    """The rule that keeps `--help` quick: heavy imports stand inside the verbs."""
    for path in Path(cli.__file__).parent.glob("*.py"):
        if path.stem in ("progress", "tables"):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        top = {name.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for name in node.names}
        top |= {(node.module or "").split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert not top & {*HEAVY, "rich"}, path


def test_kb_info_and_lookup_as_json(small_world):
    info = parsed("kb", "info", small_world.kb)
    assert info["entities"] == len(SHAPES)
    assert len(info["fingerprint"]) == 16
    assert info["builder"] == "table"
    found = parsed("kb", "lookup", small_world.kb, "Oranges")
    assert {row["id"] for row in found["candidates"]} == {"e:orange-fruit", "e:orange-firm"}
    assert sum(row["prior"] for row in found["candidates"]) == pytest.approx(1)
    unknown = run("kb", "lookup", small_world.kb, "oragne", "--json")
    assert unknown.exit_code == 1
    assert (json.loads(unknown.stdout)["candidates"], json.loads(unknown.stdout)["nearest"]) == ([], ["orange"])


def test_a_folder_that_is_no_knowledge_base(tmp_path):
    for verb in (["kb", "info", tmp_path], ["kb", "lookup", tmp_path, "sun"]):
        assert str(tmp_path) in sentence(in_process(*verb))


class TestWithAnEncoder:
    pytestmark = with_encoder

    def test_encoder_info_as_json_and_as_table(self, small_encoder):
        facts = parsed("encoder", "info", small_encoder)
        assert (facts["spec"], facts["dim"]) == (small_encoder, 64)
        assert facts["preprocessing"]["size"] > 0
        assert facts["fingerprint"] in run("encoder", "info", small_encoder).stdout

    def test_explain_as_json_and_as_table(self, small_world, small_encoder, tmp_path):
        shown = tmp_path / "sun.jpg"
        shown.write_bytes(drawn_image("e:sun", np.random.default_rng(3)))
        arguments = [
            "explain",
            "--kb",
            small_world.kb,
            "--encoder",
            small_encoder,
            "--image",
            shown,
            "--text",
            "the sun over an orange lawn",
            "--cache",
            tmp_path / "cache",
        ]
        found = parsed(*arguments)
        verdicts = {one["entity"]: one for one in found["candidates"]}
        assert [mention["surface"] for mention in found["mentions"]] == ["sun", "orange", "lawn"]
        assert set(verdicts) == {"e:sun", "e:orange-fruit", "e:orange-firm", "e:lawn"}
        assert {key for key, one in verdicts.items() if one["reason"] == "accepted"} == {"e:sun"}
        assert verdicts["e:orange-firm"]["prior"] == pytest.approx(0.5)
        assert found["threshold"] == pytest.approx(0.8)
        table = run(*arguments)
        accepted = [line for line in table.stdout.splitlines() if "accepted" in line and "e:sun" in line]
        assert len(accepted) == 1
        assert f"{verdicts['e:sun']['probability']:.3f}" in accepted[0]
        several = [*arguments, "--text-column", "title", "--text", "a lawn, the sun", "--text-column", "tags"]
        of_kinds = parsed(*several)
        assert of_kinds["text"] == "the sun over an orange lawn\na lawn, the sun"
        assert [(one["mention"], one["kind"]) for one in of_kinds["candidates"]].count(("sun", "tags")) == 1
        assert "sun in title " in run(*several).stdout
        message = sentence(in_process(*arguments, "--text", "a lawn"), code=2)
        assert message.startswith("2 texts, but 0 names of their kinds")

    def test_explain_of_what_is_no_picture(self, small_world, small_encoder, tmp_path):
        (tmp_path / "x.jpg").write_bytes(b"<html>")
        for image, says in (("x.jpg", "not a usable image"), ("none.jpg", "cannot be read")):
            message = sentence(
                in_process(
                    "explain",
                    "--kb",
                    small_world.kb,
                    "--encoder",
                    small_encoder,
                    "--image",
                    tmp_path / image,
                    "--text",
                    "sun",
                    "--json",
                )
            )
            assert str(tmp_path / image) in message
            assert says in message

    def test_label_as_json_prints_nothing_else(self, small_world, small_encoder, labelled, tmp_path):
        done = openmofi(
            "label",
            small_world.shards,
            "--kb",
            small_world.kb,
            "--encoder",
            small_encoder,
            "-o",
            tmp_path / "out",
            "--cache",
            labelled,
            "--json",
        )
        assert (done.returncode, done.stderr) == (0, "")
        counts = json.loads(done.stdout)
        assert counts["rows_in"] == counts["rows_out"] == len(small_world.truth) == sum(counts["status"].values())
        assert counts["threshold"] == pytest.approx(0.8)

    def test_label_for_people(self, small_world, small_encoder, labelled, tmp_path):
        done = run(
            "label",
            small_world.shards,
            "--kb",
            small_world.kb,
            "--encoder",
            small_encoder,
            "-o",
            tmp_path / "out",
            "--cache",
            labelled,
        )
        assert done.exit_code == 0
        assert re.search(r"labelled\s+\d+", done.stdout)
        assert "labels accepted from probability 0.800 on" in done.stdout

    def test_dataset_build_and_audit(self, small_world, labelled, tmp_path):
        truth = tmp_path / "truth.parquet"
        write_table(
            truth,
            pa.Table.from_pylist(
                [
                    {
                        "shard": shard,
                        "key": key,
                        "entity": entity,
                        "named": True,
                        "ambiguous": "orange" in entity,
                        "domain": "shape",
                        "split": "train",
                    }
                    for (shard, key), entity in small_world.truth.items()
                ],
                TRUTH,
            ),
        )
        built = parsed(
            "dataset",
            "build",
            labelled,
            "-o",
            tmp_path / "dataset",
            "--min-images",
            "2",
            "--kb",
            small_world.kb,
            "--no-report",
        )
        assert built["rows"] == len(small_world.truth)
        assert 0 < built["images"] < built["rows"]
        for folder in (labelled, tmp_path / "dataset"):
            audited = parsed("dataset", "audit", folder, "--truth", truth)
            assert audited["overall"]["labels"]["precision"] > 0.9
        assert "text-only" in run("dataset", "audit", labelled, "--truth", truth).stdout
