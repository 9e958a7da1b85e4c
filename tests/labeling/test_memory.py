"""What a label job needs does not grow with the rows of a shard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from terminal import PATIENCE

pytestmark = pytest.mark.slow

JOB = """
import io, sys
from pathlib import Path
import numpy as np
from PIL import Image
import openmofi
from openmofi.pairs import Record, write_tar
from openmofi.storage import table_files as blocks
from small_world import SHAPES, OTHER_NAMES, write_kb_source
from openmofi.knowledge import build_table

blocks.BLOCK_ROWS = 512
folder, rows, dim = Path(sys.argv[1]), int(sys.argv[2]), 2048
entities = list(SHAPES)

def image_of(entity):
    out = io.BytesIO()
    Image.new("RGB", (8, 8), SHAPES[entity][1]).save(out, "PNG")
    return out.getvalue()

images = [image_of(entity) for entity in entities]
texts = [SHAPES[entity][0] + " and " + SHAPES[entities[number - 1]][0] for number, entity in enumerate(entities)]
write_tar(folder / "x.tar", (Record(f"{row:06d}", images[row % 8], f"{row} {texts[row * 5 % 8]}")
                             for row in range(rows)))
build_table(write_kb_source(folder / "source"), folder / "kb")
colours = np.array([colour for _, colour, _ in SHAPES.values()], np.float32)

class Own:
    logit_scale, fingerprint = 10.0, "own"

    def embed_images(self, images):
        means = np.stack([np.asarray(image, np.float32).mean((0, 1)) for image in images])
        near = np.exp(-((means[:, None] - colours) ** 2).sum(2) / 800) + 1e-3
        return np.pad(near, ((0, 0), (0, dim - 8)))

    def embed_texts(self, texts):
        names = [{name, OTHER_NAMES.get(entity, name)} for entity, (name, _, _) in SHAPES.items()]
        near = [[any(name in text for name in called) + 1e-2 for called in names] for text in texts]
        return np.pad(np.array(near, np.float32), ((0, 0), (0, dim - 8)))

summary = openmofi.label(str(folder / "x.tar"), kb=folder / "kb", encoder=Own(), out=folder / "labels").summary
# Not getrusage's: that of a process that was forked begins at its parent's.
print(summary["rows_out"], int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]))
"""


def peak(folder: Path, rows: int) -> float:
    """MiB."""
    folder.mkdir()
    tests = str(Path(__file__).parents[1])
    program = f"import sys; sys.path.append({tests!r})\n{JOB}"
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(rows)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    rows_out, kib = map(int, done.stdout.split()[-2:])
    assert rows_out == rows
    return kib / 1024


def test_a_shard_of_many_rows_takes_no_more_memory_than_one_of_a_few(tmp_path):
    # Features alone are 12 KiB a row as they are read and 16 KiB as they are judged: 84 MiB and more if all were held.
    assert peak(tmp_path / "many", 8000) - peak(tmp_path / "few", 2000) < 32
