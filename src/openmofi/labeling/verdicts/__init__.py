"""What people said of labels: their file, the precision that it corrects, the threshold that it chooses."""
