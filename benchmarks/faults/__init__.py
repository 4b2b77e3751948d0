"""Kills, freezes and poisons workers of this library and of its peers; see ../README.md."""
