"""The fusion decoder: reads a text with all candidates and chooses one."""
