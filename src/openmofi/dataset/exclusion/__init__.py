"""Decontamination: which labelled images are copies of images of evaluation sets, and stay out of the dataset."""
