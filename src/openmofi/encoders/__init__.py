"""Image and text encoders: load, preprocess, fold. Nothing is trained here."""

import os

import lazy_loader

# Threads that wait for one another sleep and do not spin: the job's decoding threads need the same cores, and so may
# other people's jobs. Measured on two cores: alone 5 to 7 % slower than spinning, beside three busy processes three to
# five times as fast. OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
