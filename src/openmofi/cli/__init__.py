"""The commands, one file a verb. No logic here: a verb reads its options and calls a room."""
