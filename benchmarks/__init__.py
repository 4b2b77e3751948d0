"""Measures this library, its peers and the limit of redis-py side by side; see README.md."""
