"""One file a metric, with its convention in its name."""
