"""Labels beside the truth: precision, recall, calibration."""
