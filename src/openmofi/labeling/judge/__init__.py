"""Evidence, decoys, calibration, selection: which entities an image shows."""
