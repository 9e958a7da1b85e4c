"""Trains linkers: the fusion decoder, and the bi-encoder that it is compared with."""
