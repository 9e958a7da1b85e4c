"""Evidence for a calibration from the arrays of a drawn world: no random images, and no rivals if none are given."""

import numpy as np

from openmofi.labeling.calibrate.evidence import Evidence


def plain_evidence(real, decoys, link, group, pair, **more):
    """Of (n,) candidates and (m,) decoys, of these in turn; each of `more` stands for what is made up here."""
    none, count = np.zeros(0, np.int64), len(decoys)
    made_up = {
        "entity": np.zeros(len(real), np.int64),
        "candidate": np.arange(count) % max(len(real), 1),
        "other": np.zeros(count, np.int64),
        "random": np.zeros(0, np.float32),
        "random_entity": none,
        "place": np.zeros(len(real), np.int64),
        "rival": np.full(count, -1),
        "rivals": np.full(count, np.nan, np.float32),
    }
    return Evidence(real=real, decoys=decoys, link_score=link, mention=group, pair=pair, **made_up | more)
