"""Retrieval: one file a protocol, and what these share."""
