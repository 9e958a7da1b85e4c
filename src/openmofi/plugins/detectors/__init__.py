"""Mention detectors of libraries, a file each; entry points name them."""
