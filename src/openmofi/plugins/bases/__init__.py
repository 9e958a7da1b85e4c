"""Whole knowledge bases: compare two releases, slice one, export its tables, unite several."""
