"""Tokenizers: of towers that are trained, and of exported encoders without PyTorch."""
