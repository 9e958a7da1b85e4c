"""The layouts of pairs, a module each: tar shards, Parquet, folders with a table."""
