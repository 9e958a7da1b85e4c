"""`openmofi demo --tiny`: the whole job on pages that lie in the package, without the network and without PyTorch.

What is in `data/` and how it was made: docs/sample-world.md, `tools/tiny/`.
"""

from pathlib import Path
from typing import Any

from openmofi.dataset import DatasetSettings, build_dataset, write_report
from openmofi.encoders import open_encoder
from openmofi.encoders.registry import TINY
from openmofi.engine import Progress
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.labeling import LabelSettings, label
from openmofi.plugins.audit.audit import audit
from openmofi.plugins.demo import FILES
from openmofi.search import build
from openmofi.storage import expand_shards, make_folder, write_bytes, write_json

_MIN_IMAGES = 2


def run_tiny(out: str | Path, progress: Progress, *, restart: bool = False) -> dict[str, Any]:
    """Build the knowledge base, label the pages, audit, build the dataset, index and report; seconds to a minute.

    The pages are copied to `out` first, so that what was made of them stays whole without this package. It goes on
    where an earlier call stopped.

    Args:
        out: gets `pages/`, `kb/`, `labels/`, `dataset/`, `index/`, `truth.parquet`, `metrics.json`, `report.html`.
        progress: receives every step.
        restart: every step begins anew.

    Returns:
        What `metrics.json` holds: `rows_in`, `rows_out`, `accepted`, `expected_precision`; `precision` and `recall`
        against the truth with their 95 % intervals, and those of the text alone at the same recall.

    Raises:
        OpenMofiError: `out` holds something else, or cannot be written.
    """
    root = Path(out)
    make_folder(root / "pages")
    for name, path in (("pages.tar", root / "pages/pages.tar"), ("truth.parquet", root / "truth.parquet")):
        if not path.exists():
            write_bytes(path, (FILES / name).read_bytes())
    build_table(FILES / "kb", root / "kb", restart=restart)
    kb, encoder = KnowledgeBase.open(root / "kb"), open_encoder(TINY)
    counts = label(
        expand_shards([str(root / "pages")]),
        kb,
        encoder,
        root / "labels",
        LabelSettings(),
        progress=progress,
        restart=restart,
    )
    build_dataset(
        root / "labels", root / "dataset", DatasetSettings(min_images=_MIN_IMAGES), kb=kb, report=False, restart=restart
    )
    judged = audit(root / "labels", root / "truth.parquet", kb=kb)
    own = judged.overall.labels
    metrics = {
        "rows_in": counts["rows_in"],
        "rows_out": counts["rows_out"],
        "accepted": counts["accepted"],
        "expected_precision": counts["expected_precision"],
        "precision": own.precision,
        "precision_interval": own.precision_interval,
        "recall": own.recall,
        "recall_interval": own.recall_interval,
        "text_only_precision": judged.compare({})["text_only"]["at_own_recall"],
    }
    build([str(root / "labels")], encoder, root / "index", kb=kb, progress=progress)
    write_report(root / "dataset", root / "labels", root / "report.html", audit=judged.view(), kb=kb)
    write_json(root / "metrics.json", metrics)
    return metrics
