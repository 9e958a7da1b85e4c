"""A judge beyond the encoder, asked about doubtful labels."""
