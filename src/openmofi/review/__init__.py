"""People's verdicts on labels: how many labels to draw, the file of verdicts, and the precision that they show."""
