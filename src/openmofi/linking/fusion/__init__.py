"""The fusion decoder: reads a text and all candidates, chooses one."""
