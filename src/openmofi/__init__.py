"""Noisy image–text pairs in, an entity-labelled image dataset, encoders and a search out.

Names are loaded when they are first used: `import openmofi` loads neither PyTorch nor Arrow. `__init__.pyi` lists them.
"""

import os

import lazy_loader

from openmofi.version import __version__ as __version__

# Nothing that is used here reports to its makers unless the environment says so: ONNX Runtime 1.32 writes an identifier
# of the device and events to send when it is imported; Hugging Face's libraries and MLflow heed the second.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
