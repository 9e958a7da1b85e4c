"""Evaluation of linkers: their data, metrics and protocols."""
