"""Bases of WordNet's nouns, and the starter base: what packages of PyPI and npm know of things, places and people."""
