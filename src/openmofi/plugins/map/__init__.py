"""The map of a collection: a place in the plane for each image of an index."""
