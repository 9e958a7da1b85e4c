"""Readers of the data of protocols: folders, ground truths, class names, tasks."""
