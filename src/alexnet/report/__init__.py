"""Data frame in, table out."""
