"""Uploads as values: a file that a person sends from a browser, and what the person has said about it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from schemas.batches import ImportRequest, Mode, OnDuplicate
from schemas.errors import RecordsError
from schemas.reading import SAID, Question, ReadOptions
from schemas.values import ValueMap


@dataclass(frozen=True)
class Choices:
    """What a person has said about a file: the same as the options of the command.

    accepted: the sentences of questions with nothing to choose, after which the file is to be read as it is.
    """

    reading: ReadOptions = field(default_factory=ReadOptions)
    column_map: Mapping[str, str] = field(default_factory=dict)
    value_map: ValueMap = field(default_factory=dict)
    mode: Mode = Mode.UPSERT
    on_duplicate: OnDuplicate = OnDuplicate.REJECT
    again: bool = False
    accepted: tuple[str, ...] = ()

    def leave_open(self, questions: Iterable[Question]) -> tuple[Question, ...]:
        """Returns the questions that the person has not accepted."""
        return tuple(it for it in questions if it.option is not None or it.sentence not in self.accepted)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """Returns the choices from what `asdict` has turned into values of JSON."""
        return cls(
            ReadOptions.from_said(saved["reading"]),
            dict(saved["column_map"]),
            {name: dict(texts) for name, texts in saved["value_map"].items()},
            Mode(saved["mode"]),
            OnDuplicate(saved["on_duplicate"]),
            bool(saved["again"]),
            tuple(saved.get("accepted", ())),
        )


@dataclass(frozen=True)
class Failure:
    """Why a file could not be previewed: the code and the sentences of the error."""

    code: str
    message: str
    hint: str = ""
    quoted: str = ""

    @classmethod
    def of(cls, error: RecordsError) -> Self:
        """Returns what an error says."""
        return cls(error.code, error.message, error.hint, error.quoted)


@dataclass(frozen=True)
class Upload:
    """A file on its way from a browser to an import.

    bytes: the size of the whole file. at: when the upload began.
    batch_id: the preview of the file as the choices say; None if there is none.
    failure: why there is none.
    wants_approval: who has asked others to approve the import; None if nobody has.
    saved_by: who has begun to save it; None if nobody has. saved: whether that is done.
    arrived: the batch of the inbox from which the file comes; None if a person has uploaded it.
    """

    upload_id: str
    account: str
    record_type: str
    name: str
    bytes: int
    actor: str
    at: datetime
    choices: Choices = field(default_factory=Choices)
    batch_id: str | None = None
    failure: Failure | None = None
    wants_approval: str | None = None
    saved_by: str | None = None
    saved: bool = False
    arrived: str | None = None

    def request(self, file: Path) -> ImportRequest:
        """Returns the request to import the file as the choices say."""
        choices = self.choices
        return ImportRequest(
            file,
            self.account,
            self.record_type,
            mode=choices.mode,
            on_duplicate=choices.on_duplicate,
            column_map=choices.column_map,
            value_map=choices.value_map,
            again=choices.again,
            of=choices.reading.of,
            **{name: value for name, value in choices.reading.said().items() if name in SAID},
        )

    def chosen(self, choices: Choices) -> Self:
        """Returns the upload with other choices, for which there is no preview yet."""
        return replace(self, choices=choices, batch_id=None, failure=None, wants_approval=None, saved_by=None)

    def to_dict(self) -> dict[str, Any]:
        """Returns the upload as values of JSON."""
        return asdict(self) | {"at": self.at.isoformat()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """Returns the upload from what `to_dict` returned."""
        failure = saved["failure"]
        return cls(
            **{
                **saved,
                "at": datetime.fromisoformat(saved["at"]),
                "choices": Choices.from_dict(saved["choices"]),
                "failure": None if failure is None else Failure(**failure),
            }
        )
