"""One file a layout: tar shards, Parquet, folders with a table."""
