"""The dataset's pages: report, card, plots, thumbnails."""
