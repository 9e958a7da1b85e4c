"""One file a protocol; `openmofi.evaluation.run` lists them and imports each when it runs."""
