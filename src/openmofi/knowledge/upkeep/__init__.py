"""A knowledge base's upkeep: what changed between two builds, slices for laptops, and its tables again."""
