"""One pass over a shard: links of its texts, features of its images."""
