"""The small YAML files in the home that an operator edits: what they say is meant, or a sentence says why not."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from schemas.errors import InvalidRequest

_Model = TypeVar("_Model", bound=BaseModel)
_INTEGER = "tag:yaml.org,2002:int"


class _Loader(yaml.SafeLoader):
    """YAML in which 17:30 is a text, as version 1.2 has it; in 1.1 it is 1,050."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in known if tag != _INTEGER]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_INTEGER, re.compile(r"[-+]?[0-9]+$"), list("-+0123456789"))


def read_operator_file(path: Path, model: type[_Model]) -> _Model:
    """What the file says, as the model has it; what the model has by default where there is no file or nothing in it.

    Raises InvalidRequest, which names the place in the file, what was found there and what is valid.
    """
    try:
        told = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        return model()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{path} cannot be read: {error}.", "Make it a text file in UTF-8 that may be read."
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise InvalidRequest(
            f"{path} is no YAML{where}: {getattr(error, 'problem', None) or error}.",
            "Correct it; the README has an example.",
        ) from None
    try:
        return model.model_validate({} if told is None else told)
    except ValidationError as error:
        raise _refused(path, error) from None


def checked_entries(
    path: Path, name: str, told: Sequence[Any], model: type[_Model]
) -> tuple[list[_Model], list[InvalidRequest]]:
    """The entries of a list of the file that can be meant, and of each other one what is wrong with it."""
    entries, mistakes = [], []
    for number, each in enumerate(told):
        try:
            entries.append(model.model_validate(each))
        except ValidationError as error:
            mistakes.append(_refused(path, error, name, number))
    return entries, mistakes


def _refused(path: Path, error: ValidationError, *place: str | int) -> InvalidRequest:
    wrong = "; ".join(_sentence(each, place) for each in error.errors(include_url=False)[:5])
    return InvalidRequest(f"{path}: {wrong}.", "Correct it; the README has an example.")


def _sentence(error: Any, within: tuple[str | int, ...]) -> str:
    """What is wrong, as in: `exports, entry 2, format` was 'xls': input should be 'csv' or 'json'.

    What stands in a wrong place, or has more in it, is not repeated: a filter can hold what is personal.
    """
    parts = (*within, *error["loc"])
    place = ", ".join(f"entry {part + 1}" if isinstance(part, int) else str(part) for part in parts)
    told = error["type"] not in ("missing", "extra_forbidden") and not isinstance(error["input"], dict | list)
    found = f" was {error['input']!r}:" if told else ""
    return f"`{place or 'the file'}`{found} {error['msg'][0].lower()}{error['msg'][1:]}"
