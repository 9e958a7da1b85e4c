"""Datasets in formats that other tools open."""
