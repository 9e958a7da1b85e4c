"""Filling an index and keeping it: what comes in, what is committed, what is mended."""
