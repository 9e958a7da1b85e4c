"""Image bytes: safe decoding, scaled decoding, perceptual hash."""
