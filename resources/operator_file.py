"""The small YAML files in the home that an operator edits: what they say is meant, or a sentence says why not."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from schemas.errors import InvalidRequest

_Model = TypeVar("_Model", bound=BaseModel)


def read_operator_file(path: Path, model: type[_Model]) -> _Model:
    """What the file says, as the model has it; what the model has by default where there is no file or nothing in it.

    Raises InvalidRequest, which names the place in the file, what was found there and what is valid.
    """
    try:
        told = yaml.safe_load(path.read_text("utf-8"))
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
        wrong = "; ".join(_sentence(each) for each in error.errors(include_url=False)[:5])
        raise InvalidRequest(f"{path}: {wrong}.", "Correct it; the README has an example.") from None


def _sentence(error: Any) -> str:
    """What is wrong, as in: `exports, entry 2, format` was 'xls': input should be 'csv' or 'json'."""
    place = ", ".join(f"entry {part + 1}" if isinstance(part, int) else str(part) for part in error["loc"])
    found = "" if error["type"] == "missing" else f" was {error['input']!r}:"
    return f"`{place or 'the file'}`{found} {error['msg'][0].lower()}{error['msg'][1:]}"
