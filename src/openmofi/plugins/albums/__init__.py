"""Photo servers, immich and PhotoPrism: reads their images, and writes labels back as tags with one undo."""
