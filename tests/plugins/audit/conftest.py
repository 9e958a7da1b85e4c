from ...dataset.conftest import lookup, rows, small_labels, world  # noqa: F401
