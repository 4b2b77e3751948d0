"""One module per library, each run in that library's own environment."""
