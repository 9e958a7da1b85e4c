"""Examples of disambiguation from WordNet, ZELDA and CoNLL."""
