"""What protocols read: folders, ground truths, class names, tasks."""
