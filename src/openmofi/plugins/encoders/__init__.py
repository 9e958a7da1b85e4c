"""Encoders of libraries, and their towers to train, a file each; entry points name them."""
