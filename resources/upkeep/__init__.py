"""Keeps a store small and fast: the lake's maintenance, and the removal of files after their retention."""
