"""What commands print: tables, progress bars."""
