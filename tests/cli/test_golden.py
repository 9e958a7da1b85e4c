"""The command line as it was agreed on: `--help` of each command, the schemas of `--json`, exit codes of wrong use.

With OPENMOFI_WRITE_GOLDEN=1 it writes the files anew: look at the difference before you keep it.
"""

import hashlib
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openmofi.cli.main import app, commands
from openmofi.cli.schemas import schema_names
from terminal import in_process

GOLDEN = Path(__file__).parent / "golden"
PROGRAM = re.compile("Usage: .*?openmofi")
"""How click names what pytest or its workers have started."""
WRONG = """
nosuch
lable x
label
label x
label x --nosuch
label x --kb k --encoder e -o o --threshold 2
label x --kb k --encoder e -o o --threshold high
label x --kb k --encoder e -o o --top-k 0
label x --kb k --encoder e -o o --target-precision 1
label x --kb k --encoder e -o o --on-damage maybe
label x --kb k --encoder e -o o --device tpu
label x --kb k --encoder e -o o --precision fp8
label x --kb k --encoder e -o o --detector none
label x --kb k --encoder e -o o --linker none
label x --kb k --encoder e -o o --template {nome}
label x --kb k --encoder e -o o --engine none
label x --kb k --encoder e -o ftp://host/o
label nosuch.tar --kb k --encoder e -o o
label check nosuch.tar
label audit x
label audit x -o page.html --verdicts v.json
explain --image i --text a --text b --kb k --encoder e
explain --image i --text a --kb k --encoder run:e
kb build table x
kb build table x -o o --candidates 0
kb build table x -o o --memory lots
kb build magic x -o o
kb build wikidata x -o o --max-broken 2
kb build wikidata x -o s3://b/o
kb anchors x -o o --min-seen 0
kb sample k -o o
kb sample k -o o --types a --labels l
kb union a b -o o --weights one
kb publish k -o o --part-size 0
kb publish k -o https://host/o
kb fetch nosuch -o o
kb fetch x -o s3://b/o
kb lookup nosuch name
kb info s3:
dataset build l -o o --near-duplicates many
dataset build l -o o --near-duplicates 99
dataset build l -o o --min-images 0
dataset build l -o o --min-images 5 --max-images 2
dataset build l -o o --exclude a/s --exclude b/s
dataset build l -o o --exclude s --exclude-cosine near
dataset build l -o o
dataset export d -o o
dataset export d -o o --format word
dataset export d -o s3://b/o --format coco --push me/d
dataset export d -o o --format coco --min-probability 2
dataset audit l --truth nosuch.csv
fetch
fetch x
fetch x.csv -o o --shard-size 0
fetch x.csv -o o --keep-columns url
fetch nosuch.csv -o o
fetch x.csv -o memory://b/o
reinforce x --teachers t:1
reinforce x --teachers t:1 --labels l
reinforce x --teachers t --labels l -o o
reinforce x --teachers t:1 --labels l -o o --augs 0
reinforce x --teachers t:1 --labels l -o o --precision fp64
reinforce x --teachers t:1 --labels l -o o --captioner blip
train
train nosuch -o o
train mofi_vit_b16
train mofi_vit_b16 -o o --set optimizer.lr=0
train mofi_vit_b16 -o o --set optimiser.lr=1
train mofi_vit_b16 -o o --set lr
train mofi_vit_b16 -o o --resume --restart
train mofi_vit_b16 -o o --dataset d --labels l
train mofi_vit_b16 -o o
link train
link train nosuch -o o
link examples magic x -o o
link examples zelda x -o o
study size d -o o --sizes half
study size d -o o --sizes none --thresholds none
study size d -o o --held-out 2
study size d -o o --seeds 0
eval
eval nosuch --data d
eval knn --data d
eval knn --data d --encoder e --linker prior
eval knn --data d --encoder run:e --set k=0
eval knn --data d --encoder run:e --set kk=1
eval sources --check d
eval compare nosuch.json
eval compare x --format word
export e -o o --format word
export e -o o --precision int4
export run:e -o o --format onnx --precision bf16
export run:e -o o --max-loss 3
encoder info nosuch:e
encoder bench
encoder bench tiny --repeats 0
encoder bench tiny --pairs nosuch.tar
encoder compare tiny --pairs x
encoder compare tiny photo --pairs nosuch.tar --kb k
encoder compare tiny photo --pairs x --kb k --target-precision 1
index build x --encoder run:e -o o
index build x --encoder run:e -o o --dtype int8
index build x --encoder run:e -o o --entities some
index info nosuch
index add nosuch x
index map nosuch --seed -1
index verdicts nosuch -o o
index publish nosuch -o o
index publish i -o https://host/o
index fetch nosuch -o o
index build x --encoder tiny -o memory://b/o
search memory://b/i --text a
search nosuch --region 0,0,1,1
search nosuch --text a
recognise x --index nosuch -o o
recognise x --index nosuch -o o --limit 0
recognise x --index nosuch -o o --unnamed 1
recognise x --index nosuch -o o --on-damage maybe
serve nosuch
serve nosuch --port 70000
serve nosuch --host 0.0.0.0 --no-token
serve nosuch --token short
mcp nosuch
schema nosuch
jobs status nosuch
jobs retry nosuch
sample world -o o --max-entities -1
demo --nosuch
""".strip().splitlines()


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("OPENMOFI_WRITE_GOLDEN"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("verb", sorted({name[0] for name, _ in commands() if name}))
def test_helps(verb, monkeypatch):
    monkeypatch.delenv("OPENMOFI_TOKEN", raising=False)
    texts = []
    for name, _ in commands():
        if name[:1] == (verb,):
            done = CliRunner().invoke(
                app, [*name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}, terminal_width=200
            )
            texts.append(f"$ openmofi {' '.join(name)} --help\n{done.output}")
    compare(f"help_{verb.replace(' ', '_')}.txt", "\n".join(texts))


def test_help_of_all(monkeypatch):
    compare("help.txt", CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}, terminal_width=200).output)


def test_schemas():
    def digest(name):
        return hashlib.sha256(in_process("schema", *name.split()).stdout.encode()).hexdigest()[:16]

    compare("schemas.txt", "".join(f"{digest(name)} {name}\n" for name in schema_names()))


def test_exit_codes_of_wrong_use(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("OPENMOFI_TOKEN", raising=False)
    lines = []
    for wrong in WRONG:
        done = in_process(*wrong.split(), cwd=tmp_path)
        said = [line for line in done.stderr.splitlines() if line.lower().startswith(("error", "internal", "usage"))]
        last = PROGRAM.sub("Usage: openmofi", said[-1] if said else "-").replace(str(tmp_path), "TMP")
        lines.append(f"{done.returncode} {wrong}\n  {last}\n")
        assert not list(tmp_path.rglob("*.parquet")), wrong
    compare("exits.txt", "".join(lines))
