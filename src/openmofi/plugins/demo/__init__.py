"""The tiny demo: a thousand held-out pages of the sample world, its knowledge base and truth, in the package itself."""

from pathlib import Path

FILES = Path(__file__).parent / "data"
"""`pages.tar`, `kb/` (tables for `build_kb("table", …)`), `truth.parquet`, `ATTRIBUTION.md`."""
