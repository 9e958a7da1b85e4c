"""The modules behind an encoder's arrays: heads, PyTorch modules; towers folded and compiled."""
