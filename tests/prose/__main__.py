"""List what is wrong with the project's prose: `python -m tests.prose [WORD IN A PLACE]…`."""

import sys
from itertools import chain

from tests.prose import commands, docstrings, messages, pages


def main() -> None:
    """Print each mistake; of places with one of the words given, if any is."""
    found = 0
    for text in chain(pages(), commands(), docstrings(), messages()):
        if not sys.argv[1:] or any(word in text.place for word in sys.argv[1:]):
            for mistake in text.mistakes():
                print(mistake)
                found += 1
    print(f"{found:,} mistakes")


if __name__ == "__main__":
    main()
