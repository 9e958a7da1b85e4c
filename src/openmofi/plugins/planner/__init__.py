"""What a training run needs of GPUs, estimated without one."""
