"""FusionED: a decoder that reads a text with all candidates and chooses one; how it is trained and evaluated."""
