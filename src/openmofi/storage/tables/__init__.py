"""Tables larger than memory: by blocks, in two passes, by ascending keys; whether Parquet files are whole."""
