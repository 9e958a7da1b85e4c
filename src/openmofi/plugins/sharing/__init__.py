"""Knowledge bases to download: publish one to a folder or store, fetch one from a folder, store or web server."""
