"""What steps of a run pass on to each other, under RECORDS_DATA: every machine can continue a run."""

import json
from typing import Any

import dagster as dg

from resources.file_storage import FileStorage, is_local, read, write_object
from resources.settings import Settings
from schemas.location import Location


class StepResults(dg.IOManager):
    """Keeps results of steps as JSON, in `steps/<run>/<step>/` of the store. They are ids and numbers only."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write a result, whole or not at all. Raises TypeError for one that JSON cannot hold."""
        settings = Settings.from_environment()
        place, content = _place(settings, context), json.dumps(obj).encode()
        if is_local(place):
            with FileStorage(settings.scratch).making(place) as partial:
                partial.write_bytes(content)
        else:
            write_object(place, content)

    def load_input(self, context: dg.InputContext) -> Any:
        """Return a result, also one of the run that this run continues. Raises FileNotFoundError if it is missing."""
        return json.loads(read(_place(Settings.from_environment(), context)))


def _place(settings: Settings, context: dg.OutputContext | dg.InputContext) -> Location:
    """Return where a result is. Brackets, as in `make_part[000001]`, would be a pattern to some libraries."""
    run, *names = (name.replace("[", "-").replace("]", "") for name in context.get_identifier())
    return settings.steps / run / ".".join(names)
