"""Linkers judged: data, accuracy, protocols."""
