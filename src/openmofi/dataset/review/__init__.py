"""A look by a person at drawn labels: the page, and what its verdicts say of all labels."""
