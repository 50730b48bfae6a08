"""The closed sets of choices as types that Dagster's launchpad offers as lists.

Dagster offers the values of a Literal, but the names of an enum. So each Literal is made from its enum. To mypy the
fields are texts.
"""

from typing import TYPE_CHECKING, Literal

from schemas import record_type_names
from schemas.batches import Mode, OnDuplicate, OnInvalid
from schemas.footers import Footer
from schemas.reading import COMMA, POINT, DateOrder, ShortRows
from schemas.rollbacks import OnModified

if TYPE_CHECKING:
    DateOrderName = str
    DecimalName = str
    FooterName = str
    ModeName = str
    OnDuplicateName = str
    OnInvalidName = str
    OnModifiedName = str
    RecordTypeName = str
    ShortRowsName = str
else:
    DateOrderName = Literal["", *(choice.value for choice in DateOrder)]
    DecimalName = Literal["", COMMA, POINT]
    FooterName = Literal["", *(choice.value for choice in Footer)]
    ModeName = Literal[tuple(choice.value for choice in Mode)]
    OnDuplicateName = Literal[tuple(choice.value for choice in OnDuplicate)]
    OnInvalidName = Literal[tuple(choice.value for choice in OnInvalid)]
    OnModifiedName = Literal[tuple(choice.value for choice in OnModified)]
    RecordTypeName = Literal[record_type_names()]
    ShortRowsName = Literal["", *(choice.value for choice in ShortRows)]
