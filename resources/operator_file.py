"""Reads the YAML files in the home that an operator edits, and says in a sentence what is wrong with one."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from schemas.errors import InvalidRequest

_Model = TypeVar("_Model", bound=BaseModel)
_OF_SERVERS = ("quotas.yaml", "web.yaml", "celery.yaml")
"""The files of which deploy/README.md has an example, and not pipelines/README.md."""
_WHAT = {"extra_forbidden": "is no setting of this file", "missing": "is missing"}
"""What is wrong in our words, where pydantic's are about models of Python."""
_SHOWN = 5
"""How many mistakes of one entry a message names."""


def read_operator_file(path: Path, model: type[_Model]) -> _Model:
    """Returns the file's content as the model. A missing or empty file gives the model's defaults.

    The file is YAML 1.2, in which 17:30 is a text. Raises InvalidRequest with the place in the file, what was found
    there, and what is valid.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except FileNotFoundError:
        return model()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} cannot be read: {error}.", "Make it a readable text file in UTF-8.") from None
    except YAMLError as error:
        raise InvalidRequest(f"{path} is not valid YAML{_reason(error)}.", _hint(path)) from None
    except (ValueError, KeyError, RecursionError) as error:  # of a value that YAML calls a date, a number or a boolean
        raise InvalidRequest(f"{path} has a value that cannot be read: {error}.", _hint(path)) from None
    try:
        return model.model_validate({} if content is None else content)
    except ValidationError as error:
        raise _invalid(path, error) from None


def digests_of(home: Path) -> dict[str, str]:
    """Returns the SHA-256 of each operator's file that steps of runs read; a missing file counts as an empty one."""
    contents = {name: home / name for name in ("inbox.yaml", "quotas.yaml", "exports.yaml")}
    return {
        name: hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()
        for name, path in contents.items()
    }


def checked_entries(
    path: Path, name: str, items: Sequence[Any], model: type[_Model]
) -> tuple[list[_Model], list[InvalidRequest]]:
    """Returns the valid entries of a list in the file, and an error for each other entry."""
    entries, mistakes = [], []
    for number, item in enumerate(items):
        try:
            entries.append(model.model_validate(item))
        except ValidationError as error:
            mistakes.append(_invalid(path, error, name, number))
    return entries, mistakes


def _reason(error: YAMLError) -> str:
    """Returns the line and the reason, as far as the error has them."""
    if not isinstance(error, MarkedYAMLError):
        return f": {error}"
    where = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
    return f"{where}: {error.problem or error.context}"


def _invalid(path: Path, error: ValidationError, *place: str | int) -> InvalidRequest:
    mistakes = "; ".join(_sentence(each, place) for each in error.errors(include_url=False)[:_SHOWN])
    return InvalidRequest(f"{path}: {mistakes}.", _hint(path))


def _sentence(error: Any, within: tuple[str | int, ...]) -> str:
    """Returns one mistake, for example: `exports, entry 2, format` was 'xls': input should be 'csv' or 'json'.

    Leaves out an unexpected value and a value with parts: a filter can hold personal data.
    """
    parts = (*within, *error["loc"])
    place = ", ".join(f"entry {part + 1}" if isinstance(part, int) else str(part) for part in parts)
    quotable = error["type"] not in ("missing", "extra_forbidden") and not isinstance(error["input"], dict | list)
    found = f" was {error['input']!r}:" if quotable else ""
    what = _WHAT.get(error["type"]) or f"{error['msg'][0].lower()}{error['msg'][1:]}"
    return f"`{place or 'the file'}`{found} {what}"


def _hint(path: Path) -> str:
    page = "deploy" if path.name in _OF_SERVERS else "pipelines"
    return f"Correct the file. The page {page}/README.md has an example."
