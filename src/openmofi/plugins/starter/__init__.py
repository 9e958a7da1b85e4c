"""The starter base: what packages of PyPI and npm know of things, places, brands, birds and people, as one base."""
