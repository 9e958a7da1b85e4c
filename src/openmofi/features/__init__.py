"""Images through an encoder: the decode-ahead stream and the feature store that all rooms share."""
