"""Wikidata: dumps read as streams, items selected by rules, the tables of a knowledge base."""
