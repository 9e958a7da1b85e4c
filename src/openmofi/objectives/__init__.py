"""Losses as functions over tensors of documented shapes. Each imports torch: import the file that you need."""
