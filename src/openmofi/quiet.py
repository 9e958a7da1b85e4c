"""Silences progress bars and logs of libraries while they load."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Inside, transformers says errors only and draws no bars; afterwards its settings are as before."""
    from transformers.utils import logging as theirs

    verbosity, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(verbosity)
        if bars:
            theirs.enable_progress_bar()


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Inside, nothing below CRITICAL is logged: open_clip reports each step, warnings too, on the root logger.

    Python's warnings are silent too, such as torch's about the pickle protocol of a file that it then refuses.
    """
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
