"""OpenMOFI: noisy image–text pairs in, an entity-labelled image dataset out."""

__version__ = "0.1.0"
