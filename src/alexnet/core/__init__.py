"""Pure mathematics: no files, no clock, no global randomness."""
