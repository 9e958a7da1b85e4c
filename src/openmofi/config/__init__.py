"""Settings: one mechanism for every room."""
