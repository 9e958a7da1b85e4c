"""Builders of knowledge bases: the steps that all of them share, and one builder for each source."""
