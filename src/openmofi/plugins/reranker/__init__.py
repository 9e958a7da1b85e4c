"""A linker that scores a mention's text with each candidate's description, and mixes that with the prior."""
