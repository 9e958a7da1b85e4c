"""A light adapter over an encoder, fitted on a label job's own links."""
