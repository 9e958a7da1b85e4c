"""What settings and inputs are known by, digests of files, and what differs between settings."""
