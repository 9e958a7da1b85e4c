"""From raw similarities to probabilities: evidence, decoys, witnesses, and the fit of a calibration."""
