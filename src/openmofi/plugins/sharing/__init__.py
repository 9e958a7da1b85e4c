"""Knowledge bases and indexes to download: published to a folder or store, fetched from there or a web server."""
