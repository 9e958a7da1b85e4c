"""The size study: entities beside alt-text at equal numbers of pairs, and of equally sure labels."""
