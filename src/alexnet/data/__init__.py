"""Files in and out, no mathematics."""
