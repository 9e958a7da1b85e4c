"""One file a library: how its models are opened, and how its towers are built for training."""
