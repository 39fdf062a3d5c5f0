"""Doubles of what the hub meets outside of itself, real enough to be reached the real way."""
