"""Exports of datasets: Parquet, tars, COCO, folders by class, and formats that packages add."""
