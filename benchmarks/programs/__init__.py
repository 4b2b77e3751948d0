"""One program per side: its worker's tasks, and its producer; each runs in its own environment."""
