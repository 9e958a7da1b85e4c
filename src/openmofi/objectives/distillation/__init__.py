"""What a student learns from stored teachers."""
