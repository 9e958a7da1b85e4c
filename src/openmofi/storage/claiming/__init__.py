"""Claiming an output folder: one process writes it, in a folder of this machine or of a store."""
