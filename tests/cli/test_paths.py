"""Names of folders and files that mean something to shells, fsspec or Path: outputs and inputs work, or are refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import Record, read_pairs, write_tar
from openmofi.storage import Shard, read_manifest
from small_world import write_kb_source
from terminal import in_process, sentence

ODD = [
    "a[1]b",
    "b{x,y}",
    "{",
    "c::d",
    "simplecache::x",
    "with two spaces",
    "e#f?g=h",
    "i*",
    "ß 日本",
    "n" * 200,
    "x:y",
    "%41",
    "~",
    "'\"$(x)",
]


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
@pytest.mark.parametrize("names", [ODD[start::3] for start in range(3)])
def test_the_whole_job_in_folders_of_odd_names(small_world, small_encoder, tmp_path, monkeypatch, names):
    """The folders lie one in another, and each name is one of a shard too."""
    folder = tmp_path.joinpath(*names)
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    pairs = list(read_pairs(Shard(str(small_world.shards / "00000.tar"), "00000")))
    shards = [f"{name[:100]}.tar" for name in names]
    for place, shard in enumerate(shards):
        write_tar(folder / shard, [Record(pair.key, pair.image, pair.text) for pair in pairs[place :: len(shards)]])
    run("kb", "build", "table", write_kb_source(folder / "source"), "-o", folder / "kb")
    run(
        "label",
        *(folder / shard for shard in shards),
        "--kb",
        folder / "kb",
        "--encoder",
        small_encoder,
        "-o",
        "labels",
        "--cache",
        folder / "cache",
        "--json",
    )
    for _ in range(2):  # the second finds what the first has made
        run("dataset", "build", folder / "labels", "-o", folder / "data", "--kb", folder / "kb", "--min-images", 1)
    counts = read_manifest(folder / "data", "dataset").counts
    assert counts["rows"] == 80
    assert counts["labels"] > 20
    made = ["cache", "data", "kb", "labels", "source"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*made, *shards])
    for above, name in zip(reversed(folder.parents[: len(names)]), names, strict=True):
        assert [path.name for path in above.iterdir()] == [name]


@pytest.mark.parametrize("name", ODD)
def test_a_knowledge_base_in_a_folder_of_an_odd_name(tmp_path, name):
    source = write_kb_source(tmp_path / name / "source")
    run("kb", "build", "table", source, "-o", tmp_path / name / "kb")
    assert "brick" in run("kb", "lookup", tmp_path / name / "kb", "brick")


@pytest.mark.parametrize("prefix", ["file://", "file://{}/"])
def test_file_addresses_relative_and_absolute(tmp_path, monkeypatch, prefix):
    monkeypatch.chdir(tmp_path)
    prefix = prefix.format(tmp_path)
    write_kb_source(tmp_path / "source")
    run("kb", "build", "table", f"{prefix}source", "-o", f"{prefix}kb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kb", "source"]
    assert "brick" in run("kb", "lookup", f"{prefix}kb", "brick")


def test_a_name_that_is_not_utf8_is_refused_before_work(tmp_path):
    out = tmp_path / os.fsdecode(b"caf\xe9")
    message = sentence(in_process("kb", "build", "table", "absent", "-o", out), 2)
    assert r"caf\udce9' cannot be written: the name is not UTF-8" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_shards_in_a_folder_that_is_not_utf8_are_labelled_and_reported(small_world, small_encoder, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    shutil.copy(small_world.shards / "00000.tar", folder / "x.tar")
    shutil.copy(small_world.shards / "00000.tar", folder / os.fsdecode(b"\xe9.tar"))
    job = ["label", folder / "x.tar", "--kb", small_world.kb, "--encoder", small_encoder, "-o", tmp_path / "labels"]
    done = in_process(*job)
    assert done.returncode == 0, done.stderr
    done = in_process("dataset", "build", tmp_path / "labels", "-o", tmp_path / "data", "--min-images", "1")
    assert done.returncode == 0, done.stderr
    assert r"caf\udce9/x.tar" in (tmp_path / "data/DATASET_CARD.md").read_text("utf-8")
    job[1], job[-1] = folder, tmp_path / "more"
    assert r"/\udce9.tar' is not UTF-8, and tables are named by it" in sentence(in_process(*job), 2)
    assert not (tmp_path / "more").exists()
    message = sentence(in_process("dataset", "build", folder, "-o", tmp_path / "out"), 2)
    assert r"caf\udce9' cannot be read: the name is not UTF-8" in message


def test_a_name_that_is_too_long_for_the_disk(tmp_path):
    source = write_kb_source(tmp_path / "source")
    with pytest.raises(OpenMofiError, match="could not be written: File name too long"):
        run("kb", "build", "table", source, "-o", tmp_path / ("n" * 300))


@pytest.mark.parametrize(
    "arguments",
    [
        "kb build table SRC -o URL",
        "kb diff x y -o URL",
        "kb sample x --types y -o URL",
        "kb export x -o URL",
        "kb update x y -o URL",
        "dataset audit x --truth y -o URL",
        "reinforce x --teachers sample:30 --labels x -o URL",
        "train x -o URL",
        "link train x -o URL",
        "link examples wordnet x -o URL",
        "eval gpr1200 --data x --encoder sample -o URL",
        "eval gpr1200 --data x --encoder sample --cache URL",
        "eval compare x -o URL",
        "sample world -o URL",
        "sample encoder x --kb kb -o URL",
        "sample demo -o URL",
    ],
)
@pytest.mark.parametrize("url", ["s3://bucket/out", "memory://out"])
def test_no_command_writes_to_a_store_or_into_a_folder_of_its_name(tmp_path, monkeypatch, arguments, url):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"{url} cannot be written: outputs are local"):
        run(*arguments.replace("URL", url).split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        "label x.tar --kb kb --encoder sample -o memory://out",
        "label x.tar --kb kb --encoder sample -o out --cache memory://out",
        "dataset build x -o memory://out",
        "dataset export x --format coco -o memory://out",
        "export tiny --format onnx -o memory://out",
        "index publish x -o memory://out",
    ],
)
def test_labels_and_datasets_are_written_to_stores_of_objects_and_to_no_other(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="memory://out cannot be written: outputs are local, or in a store of objects"):
        run(*arguments.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        "kb build table URL -o out",
        "reinforce x --teachers sample:30 --labels URL -o out",
    ],
)
def test_what_is_read_from_disks_only_says_so(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="s3://bucket/x cannot be read: this is read from a local disk"):
        run(*arguments.replace("URL", "s3://bucket/x").split())
    assert not list(tmp_path.iterdir())


IN_STORES = {
    "dataset build",
    "dataset export",
    "export",
    "fetch",
    "index build",
    "index publish",
    "kb publish",
    "label",
    "recognise",
}


def outputs(command, words=()):
    """The words of each command that has `-o`, and that option."""
    for name in getattr(command, "list_commands", lambda _: ())(None):
        yield from outputs(command.get_command(None, name), (*words, name))
    yield from ((" ".join(words), option) for option in command.params if {"-o", "--out"} & {*option.opts})


ALL_OUTPUTS = dict(outputs(typer.main.get_command(app)))


def test_the_commands_that_have_an_output_are_seen():
    assert ALL_OUTPUTS.keys() > IN_STORES
    assert len(ALL_OUTPUTS) >= 35


@pytest.mark.parametrize("words", sorted(ALL_OUTPUTS))
def test_every_output_is_written_into_a_store_or_refused_before_any_work(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    reads = ALL_OUTPUTS[words].type_descriptor.parameter_info.parser
    for address in ("memory://x/out", "https://host/out", "ftp://host/out", "simplecache::s3://bucket/out"):
        with pytest.raises(UsageError, match=f"{address} cannot be written: outputs are local") as refused:
            reads(address)
        assert refused.value.exit_code == 2
    if words in IN_STORES:
        assert reads("s3://bucket/out") == "s3://bucket/out"
    else:
        with pytest.raises(UsageError, match="s3://bucket/out cannot be written: outputs are local"):
            reads("s3://bucket/out")
    assert Path(reads("here")) == Path("here")
    assert not list(tmp_path.iterdir())


def test_every_command_that_writes_a_folder_can_begin_anew():
    commands = [
        "kb build table",
        "kb build wordnet",
        "kb build wikidata",
        "kb sample",
        "kb export",
        "kb update",
        "label",
        "dataset build",
        "reinforce",
        "train",
        "link train",
        "export",
        "sample world",
        "sample encoder",
        "sample demo",
    ]
    for command in commands:
        assert "--restart" in run(*command.split(), "--help"), command


def test_resume_and_restart_contradict_each_other(tmp_path):
    for command in ("train", "link train"):
        with pytest.raises(UsageError, match="--resume goes on and --restart begins anew"):
            run(*command.split(), "x", "-o", Path(tmp_path) / "run", "--resume", "--restart")
