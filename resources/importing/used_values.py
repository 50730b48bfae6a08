"""What texts stand for in one file: as a user says for it, as said for an earlier file, and as accepted."""

from collections.abc import Iterator, Mapping, Sequence

from schemas.batches import ImportRequest, Remembered
from schemas.counts import numbered
from schemas.errors import InvalidRequest
from schemas.model import RecordModel
from schemas.validation import are_values, invalid_values
from schemas.values import MappedValue, ValueMap, as_map, as_pairs, folded, joined

_SHOWN = 20


class UsedValues:
    """The mappings of values for one file, and where each comes from.

    Raises InvalidRequest if the request names an unknown field, a key, or a value that breaks a rule. Of the others,
    such mappings are left out. So are accepted ones of texts that are values, because nobody says them for this file.
    """

    def __init__(
        self, model: type[RecordModel], request: ImportRequest, earlier: Remembered | None, accepted: ValueMap
    ) -> None:
        record_type = model.record_type()
        given, remembered = request.value_map, earlier.value_map if earlier else {}
        self._personal = {field.name for field in record_type.fields if field.personal}
        for mapping, why in invalid_values(model, given):
            raise InvalidRequest(f"The mapping {mapping.pair!r} cannot be used: {why}.", "Correct or remove it.")
        said = joined(given, _usable(model, remembered))
        self.used = joined(said, _unlike_values(model, _usable(model, accepted)))
        self.said: ValueMap = {name: texts for name, texts in said.items() if name not in self._personal}
        """What is remembered: without personal fields."""
        self.is_remembered = said != joined(given, {})
        self._said = {(it.field, folded(it.text)) for it in as_pairs(said)}

    def understood(self, mapped: Sequence[MappedValue]) -> Iterator[tuple[str, str]]:
        """Yields the mappings that were used, as label and value, without texts of personal fields."""
        shown = [it for it in mapped if it.field not in self._personal]
        yield from (("Value", self._in_words(it)) for it in shown[:_SHOWN])
        if len(shown) > _SHOWN:
            yield "Values", f"and {numbered(len(shown) - _SHOWN, 'other mapping')}"

    def _in_words(self, mapping: MappedValue) -> str:
        source = "as said" if (mapping.field, folded(mapping.text)) in self._said else "as accepted"
        return f"{mapping.field} {mapping.text!r} is {mapping.value or 'empty'} ({mapping.records:,}, {source})"


def _usable(model: type[RecordModel], values: ValueMap) -> ValueMap:
    known = {name: texts for name, texts in values.items() if name in model.record_type().field_names}
    wrong = {(it.field, it.text) for it, _ in invalid_values(model, known)}
    return as_map(it for it in as_pairs(known) if (it.field, it.text) not in wrong)


def _unlike_values(model: type[RecordModel], values: ValueMap) -> Mapping[str, Mapping[str, str]]:
    found = {}
    for name, texts in values.items():
        is_value = are_values(model, name, list(texts))
        found[name] = {text: value for (text, value), known in zip(texts.items(), is_value, strict=True) if not known}
    return found
