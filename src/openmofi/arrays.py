"""The few types of arrays; docstrings give shapes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Bools = NDArray[np.bool_]
Codes = NDArray[np.int32]
Doubles = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
"""Of any precision."""
Halves = NDArray[np.float16]
Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]
Octets = NDArray[np.uint8]
