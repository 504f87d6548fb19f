"""One module per stage of the graph; stages meet only through files."""
