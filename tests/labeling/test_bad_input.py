"""What damaged files, full disks and wrong use do to the label job: one sentence, an exit code, nothing lost."""

import io
import os
import pickle
import pty
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from mounts import read_only, small_disk

from forked import Fork
from openmofi.storage import read_manifest
from small_world import SmallWorld
from terminal import command, in_process, sentence

pytestmark = pytest.mark.slow


def rows_of(out: Path, shard: str) -> list[dict]:
    return pq.read_table(out / "labels" / f"{shard}.parquet").to_pylist()


def label_files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "labels").glob("*.parquet"))}


def job(
    world: SmallWorld, encoder: str, out: Path, *more: str | Path, shards: Path | None = None, kb: Path | None = None
) -> list[str | Path]:
    return ["label", shards or world.shards, "--kb", kb or world.kb, "--encoder", encoder, "-o", out, *more]


@pytest.fixture(scope="module")
def cut_tar(small_world, tmp_path_factory) -> Path:
    """A shard cut off in the middle of a member."""
    whole = (small_world.shards / "00000.tar").read_bytes()
    place = tmp_path_factory.mktemp("cut") / "cut.tar"
    place.write_bytes(whole[: len(whole) // 2 // 512 * 512 + 100])
    return place


def test_a_truncated_tar_stops_the_job_with_a_sentence(small_world, small_encoder, cut_tar, tmp_path):
    message = sentence(in_process(*job(small_world, small_encoder, tmp_path / "out", "--json", shards=cut_tar)))
    assert str(cut_tar) in message
    assert "truncated" in message
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_truncated_tar_gives_what_can_be_read_if_asked(small_world, small_encoder, labelled, cut_tar, tmp_path):
    done = in_process(*job(small_world, small_encoder, tmp_path / "out", "--on-damage", "keep", shards=cut_tar))
    assert done.returncode == 0, done.stderr
    assert str(cut_tar) in done.stderr
    rows, whole = rows_of(tmp_path / "out", "cut"), rows_of(labelled, "00000")
    assert 30 < len(rows) < len(whole)
    # The last pair's members may be cut; all before it are as in the whole shard. (The verdicts may differ: on the
    # whole shard the encoder was fitted, so there its folds judge.)
    for row, twin in zip(rows[:-1], whole, strict=False):
        assert all(row[name] == twin[name] for name in ("key", "text", "mentions", "width", "height", "phash"))


def test_a_full_disk_loses_nothing(small_world, small_encoder, tmp_path):
    two = small_world.shards / "{00000,00001}.tar"
    assert in_process(*job(small_world, small_encoder, tmp_path / "roomy", shards=two)).returncode == 0
    with small_disk(tmp_path / "disk", "160k") as disk:
        arguments = job(small_world, small_encoder, disk / "out", "--json", shards=two)
        message = sentence(in_process(*arguments))
        assert "disk is full" in message
        assert str(disk / "out") in message
        assert not list(disk.rglob(".openmofi-tmp*"))
        before = {path: path.read_bytes() for path in disk.rglob("*.parquet")}
        assert all(pq.read_table(path).num_rows for path in before)
        subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
        done = in_process(*arguments)
        assert done.returncode == 0, done.stderr
        assert all(path.read_bytes() == content for path, content in before.items())
        assert label_files(disk / "out") == label_files(tmp_path / "roomy")
        assert read_manifest(disk / "out", "labels").finished


def test_no_room_at_all(small_world, small_encoder, tmp_path):
    with small_disk(tmp_path / "disk", "4k") as disk:
        message = sentence(in_process(*job(small_world, small_encoder, disk / "out", "--json")))
        assert "disk is full" in message
        assert [path.name for path in disk.rglob("*") if path.is_file()] in ([], ["manifest.json"])


def test_a_read_only_output(small_world, small_encoder, tmp_path):
    (tmp_path / "kept").mkdir()
    with read_only(tmp_path / "kept") as kept:
        message = sentence(in_process(*job(small_world, small_encoder, kept / "out", "--json")))
    assert str(kept / "out") in message
    assert "Read-only" in message


def test_an_output_that_is_a_file(small_world, small_encoder, tmp_path):
    (tmp_path / "out").write_text("mine")
    message = sentence(in_process(*job(small_world, small_encoder, tmp_path / "out", "--json")))
    assert str(tmp_path / "out") in message
    assert (tmp_path / "out").read_text() == "mine"


def test_an_output_with_other_things_in_it(small_world, small_encoder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    message = sentence(in_process(*job(small_world, small_encoder, tmp_path / "out", "--json")))
    assert "not empty" in message
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_output_of_other_settings(small_world, small_encoder, labelled):
    before = label_files(labelled)
    message = sentence(in_process(*job(small_world, small_encoder, labelled, "--threshold", "0.9", "--json")))
    assert str(labelled) in message
    assert "threshold" in message
    assert label_files(labelled) == before


class Attack:
    """Creates a file if it is ever unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def copied_kb(world: SmallWorld, place: Path, name: str, content: bytes) -> Path:
    for path in world.kb.rglob("*"):
        if path.is_file():
            target = place / path.relative_to(world.kb)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if str(path.relative_to(world.kb)) == name else path.read_bytes())
    return place


def test_a_knowledge_base_of_another_schema(small_world, tmp_path):
    manifest = (small_world.kb / "manifest.json").read_text()
    older = manifest.replace('"schema_version": 2', '"schema_version": 7')
    assert older != manifest
    kb = copied_kb(small_world, tmp_path / "kb", "manifest.json", older.encode())
    message = sentence(in_process(*job(small_world, "sample", tmp_path / "out", kb=kb)))
    assert str(kb) in message
    assert "schema version 7" in message


def test_no_knowledge_base(small_world, tmp_path):
    message = sentence(in_process(*job(small_world, "sample", tmp_path / "out", kb=tmp_path / "none")))
    assert str(tmp_path / "none") in message


@pytest.mark.parametrize(
    "name", ["candidates/rows.npy", "vectors.npy", "entities.arrow", "names.marisa", "id_rows.npy"]
)
@pytest.mark.parametrize("kind", ["cut", "pickle"])
def test_a_damaged_knowledge_base(small_world, tmp_path, name, kind):
    mark = tmp_path / "executed"
    if kind == "pickle":
        out = io.BytesIO()
        np.save(out, np.array([Attack(mark)], dtype=object), allow_pickle=True)
        content = out.getvalue() if name.endswith(".npy") else pickle.dumps(Attack(mark))
    else:
        content = (small_world.kb / name).read_bytes()[:50]
    kb = copied_kb(small_world, tmp_path / "kb", name, content)
    message = sentence(in_process("kb", "lookup", kb, "orange"))
    assert str(kb) in message
    assert not mark.exists()


def pickled_files(folder: Path, mark: Path) -> dict[str, str]:
    """Specs of encoders whose files are malicious pickles."""
    attack = pickle.dumps(Attack(mark))
    for name in ("run", "hf"):
        (folder / name).mkdir(parents=True)
    (folder / "run/encoder.json").write_text(
        '{"format_version": 1, "kind": "projection", "base": "sample", '
        '"base_fingerprint": "", "heads_fingerprint": "", "logit_scale": 1, '
        '"preprocessing": {}}'
    )
    (folder / "run/heads.safetensors").write_bytes(attack)
    (folder / "hf/config.json").write_text('{"model_type": "clip"}')
    (folder / "hf/pytorch_model.bin").write_bytes(attack)
    (folder / "evil.pt").write_bytes(attack)
    return {
        "run": f"run:{folder / 'run'}",
        "hf": f"hf:{folder / 'hf'}",
        "pt": f"open_clip:RN50/{folder / 'evil.pt'}",
        "calibration": "calibration",
    }


@pytest.mark.parametrize("kind", ["run", "hf", "pt", "calibration"])
def test_a_malicious_pickle_is_never_executed(small_world, small_encoder, tmp_path, kind):
    mark = tmp_path / "executed"
    spec = pickled_files(tmp_path / "evil", mark)[kind]
    if kind == "calibration":
        arguments = job(small_world, small_encoder, tmp_path / "out", "--calibration", tmp_path / "evil/evil.pt")
    else:
        arguments = job(small_world, spec, tmp_path / "out")
    message = sentence(in_process(*arguments))
    assert str(tmp_path / "evil") in message
    assert not mark.exists()
    assert Path.touch is Attack(mark).__reduce__()[0]
    pickle.loads(pickle.dumps(Attack(mark)))
    assert mark.exists()


def test_a_folder_that_is_no_encoder(small_world, tmp_path):
    for spec in (f"run:{tmp_path}", f"hf:{tmp_path}"):
        message = sentence(in_process(*job(small_world, spec, tmp_path / "out")))
        assert str(tmp_path) in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--encoder", "clap:x"], "clap:x"),
        (["--threshold", "2"], "threshold"),
        (["--top-k", "0"], "top_k"),
        (["--batch-size", "0"], "batch_size"),
        (["--max-candidates", "0"], "max_candidates"),
        (["--target-precision", "1.5"], "target_precision"),
        (["--template", "{title}"], "{title}"),
        (["--on-damage", "ignore"], "ignore"),
        (["--engine", "threads"], "threads"),
        (["--detector", "guess"], "guess"),
        (["--linker", "guess"], "guess"),
    ],
)
def test_wrong_use_exits_with_2(small_world, small_encoder, tmp_path, change, says):
    done = in_process(*job(small_world, small_encoder, tmp_path / "out", *change))
    assert says in sentence(done, code=2)
    assert not (tmp_path / "out").exists()


def test_backbones_without_heads_are_refused_before_anything_is_read(small_world, tmp_path):
    message = sentence(in_process(*job(small_world, "backbone:efficientnet-lite0+minilm", tmp_path / "out")))
    assert "without projection heads" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pattern", ["none/*.tar", "none.tar", "{00000..00003}.tar"])
def test_a_pattern_that_matches_nothing_exits_with_2(small_world, tmp_path, pattern):
    message = sentence(in_process(*job(small_world, "sample", tmp_path / "out", shards=tmp_path / pattern)), code=2)
    assert "matches nothing" in message
    assert str(tmp_path) in message
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_traceback_and_keeps_the_exit_code(small_world, tmp_path):
    arguments = job(small_world, "sample", tmp_path / "out", kb=tmp_path / "none")
    done = in_process("--debug", *arguments)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "OpenMofiError" in done.stderr
    assert in_process("--debug", *job(small_world, "clap:x", tmp_path / "out")).returncode == 2


def started(out: Path, process: Fork) -> None:
    """Wait until the job has claimed its output."""
    for _ in range(60_000):
        if (out / "manifest.json").exists() or process.poll() is not None:
            return
        time.sleep(0.001)


@pytest.mark.parametrize("engine", ["local", "processes:2"])
def test_ctrl_c_is_a_sentence_and_130(small_world, small_encoder, tmp_path, engine):
    out = tmp_path / "out"
    program = tmp_path / "other.py"
    # So few pairs would be done in a tenth of a second, and in the command's own process.
    program.write_text(
        "import time\nfrom openmofi.cli.main import run\nfrom openmofi.engine.engines import ProcessEngine\n"
        "from openmofi.labeling import job\n"
        "if __name__ == '__main__':\n    ProcessEngine.few = 0\n"
        "    job.STEPS = (*job.STEPS[:-1], lambda _: time.sleep(600), job.STEPS[-1])\n    run()\n"
    )
    process = Fork(program, *job(small_world, small_encoder, out, "--engine", engine), new_session=True)
    started(out, process)
    # As a terminal does: to the whole group.
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert stderr.startswith("interrupted: ")
    assert len(stderr.splitlines()) == 1
    assert not list(out.rglob(".openmofi-tmp-*"))
    # Where nothing had been written, nothing is claimed.
    assert not (out / "manifest.json").exists() or not read_manifest(out, "labels").finished


def test_on_a_terminal_the_bar_is_gone_before_the_error_and_the_cursor_is_back(
    small_world, small_encoder, cut_tar, tmp_path
):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*job(small_world, small_encoder, tmp_path / "out", shards=cut_tar)),
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 4096):
            seen += piece
    except OSError:
        # Linux tells so that the other side of a terminal was closed.
        pass
    os.close(ours)
    assert process.wait() == 1
    assert b"\x1b[?25l" in seen
    assert seen.rindex(b"\x1b[?25h") < seen.rindex(b"error: ")
    assert seen.rstrip().endswith(b"what can be read.")
