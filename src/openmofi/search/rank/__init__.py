"""Answering queries: vectors, keywords, filters, fusion, probabilities."""
