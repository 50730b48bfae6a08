"""Answers what an operator asks: is everything there, what can be mended, and how much room is left."""
