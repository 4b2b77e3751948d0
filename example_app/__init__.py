"""A small service that does its slow work in the background."""
