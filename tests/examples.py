"""How many examples hypothesis tries: a fourth of them in `make test`, all of them in `make soak`."""

from hypothesis import settings


def tried(examples: int) -> int:
    """Return how many of so many examples this run tries. The first one is always trivial, so it tries two or more."""
    assert settings.default is not None
    return max(2, -(-examples * settings.default.max_examples // 100))
