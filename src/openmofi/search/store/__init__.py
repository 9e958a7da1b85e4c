"""What an index holds on disk: the database, segments of vectors, thumbnails, and where images lie."""
