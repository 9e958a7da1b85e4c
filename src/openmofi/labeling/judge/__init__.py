"""Which entities an image shows: a calibration put to use on every shard."""
