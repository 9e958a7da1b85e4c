"""One knowledge base of several: what is the same goes by one identifier, and what each says of a name counts."""
