"""One file a protocol; `openmofi.evaluation.protocol` lists them and imports each when it runs."""
