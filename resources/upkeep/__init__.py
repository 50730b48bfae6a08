"""What keeps a store small and quick: the lake's maintenance, and files whose time is over."""
