"""A head over any frozen encoder: what follows of the encoder, the dataset of a label job, a page of results."""
