"""Changes entries of `exports.yaml`. Comments, order and all other entries stay as the operator wrote them."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from filelock import FileLock
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from resources.file_storage import replace_text
from schemas.errors import InvalidRequest, NotFound


class DeliveriesFile:
    """The file `exports.yaml` of a home. Each change replaces the file in one step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry at the end. Raises InvalidRequest if the name is taken, or the file cannot be read."""
        with self._changed() as entries:
            if any(_name(each) == entry["name"] for each in entries):
                raise InvalidRequest(f"There is an export named {entry['name']!r} already.", "Choose another name.")
            entries.append(CommentedMap(entry))

    def change(self, name: str, values: dict[str, Any]) -> None:
        """Change values of an entry; None removes one. Raises NotFound if there is none with this name."""
        with self._changed() as entries:
            entry = self._entry(entries, name)
            for key, value in values.items():
                if value is None:
                    entry.pop(key, None)
                else:
                    entry[key] = value

    def remove(self, name: str) -> None:
        """Remove an entry. Raises NotFound if there is none with this name."""
        with self._changed() as entries:
            entries.remove(self._entry(entries, name))

    def _entry(self, entries: CommentedSeq, name: str) -> CommentedMap:
        found: CommentedMap | None = next((each for each in entries if _name(each) == name), None)
        if found is None:
            raise NotFound(f"There is no export named {name!r}.", "Look at the list again.")
        return found

    @contextmanager
    def _changed(self) -> Iterator[CommentedSeq]:
        """Yields the list of entries, and writes it at the end of the block."""
        yaml = YAML()
        yaml.preserve_quotes = True
        with FileLock(f"{self._path}.lock"):
            try:
                content = yaml.load(self._path.read_text("utf-8")) if self._path.exists() else None
            except (YAMLError, UnicodeDecodeError, ValueError):
                raise InvalidRequest(
                    f"{self._path.name} cannot be read.", "Your operator must correct it first."
                ) from None
            content = CommentedMap() if content is None else content
            if not isinstance(content, CommentedMap) or not isinstance(
                content.setdefault("exports", CommentedSeq()), list
            ):
                raise InvalidRequest(
                    f"{self._path.name} has no list of exports.", "Your operator must correct it first."
                )
            yield content["exports"]
            written = StringIO()
            yaml.dump(content, written)
            replace_text(self._path, written.getvalue())


def _name(entry: object) -> object:
    return entry.get("name") if isinstance(entry, dict) else None
