"""The testbed: stores to copy, processes in which faults happen, servers; and the fault itself."""

import itertools
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.faults.harness import actions, checks
from tests.faults.harness.actions import ACTIONS, Place, State
from tests.faults.harness.shim import NOTHING, Operation, Orders, recorded
from tests.faults.harness.workers import Outcome, Workers
from tests.memory import volatile_folder
from tests.object_server import ObjectServer
from tests.object_server import running as object_server
from tests.postgres import Postgres, database_of
from tests.postgres import running as postgres_server

T = TypeVar("T")
Eras = Sequence[tuple[float, float]]
DAYS_OLD = 3


class NotRun(Exception):
    """This machine lacks what a kind of fault needs; the text names it."""


@dataclass(frozen=True)
class Fault:
    """A failure at one point. `happens` causes it and returns the violations."""

    name: str
    happens: Callable[[], list[str]]


@dataclass(frozen=True)
class Reference:
    """An action without a fault: its operations, and the state afterwards."""

    operations: list[Operation]
    after: State


@dataclass(frozen=True)
class Template:
    """A store to copy, its content, and the eras in which it was made."""

    place: Place
    before: State
    eras: Eras


class Testbed:
    """Everything that faults need: made at the first use, deleted at the end."""

    def __init__(self) -> None:
        self.root = volatile_folder("faults-")
        self.workers = Workers()
        self._numbers = itertools.count(1)
        self._open = ExitStack()
        self.turn = threading.RLock()
        self._made_once: dict[Any, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.workers.close()
        self._open.close()
        shutil.rmtree(self.root, ignore_errors=True)

    @cached_property
    def _laptop(self) -> Template:
        return self._made(self.place("laptop"))

    @cached_property
    def _postgres(self) -> Template:
        return self._made(self.place("postgres"))

    @cached_property
    def _objects(self) -> Template:
        return self._made(self.place("objects"), self.objects.environment)

    def template(self, setting: str = "laptop") -> Template:
        """Return the store to copy: on a laptop, with its catalog in PostgreSQL, or with its data in objects too."""
        with self.turn:
            found: Template = getattr(self, f"_{setting}")
            return found

    @cached_property
    def server(self) -> Postgres:
        """A PostgreSQL server."""
        return self._open.enter_context(postgres_server())

    @cached_property
    def objects(self) -> ObjectServer:
        """An S3 server."""
        return self._open.enter_context(object_server())

    def folder(self) -> Path:
        """Return a new folder."""
        folder = self.root / f"{next(self._numbers):05}"
        folder.mkdir()
        return folder

    @contextmanager
    def copy(self, setting: str = "laptop") -> Iterator[tuple[Place, Template]]:
        """Yield a copy of the store, which is deleted afterwards."""
        template = self.template(setting)
        with self.copied(template.place) as place:
            yield place, template

    def place(self, setting: str) -> Place:
        """Return an empty place for a store."""
        with self.turn:
            if setting == "laptop":
                return Place(self.folder())
            database = self.server.address(self.server.create())
            return Place(self.folder(), database, "" if setting == "postgres" else f"{self.objects.create()}/data")

    @contextmanager
    def copied(self, original: Place) -> Iterator[Place]:
        """Yield a copy of what is at a place, which is deleted afterwards."""
        folder = self.folder()
        shutil.copytree(original.root, folder, dirs_exist_ok=True)
        place = replace(original, root=folder)
        database = bucket = ""
        if place.catalog:
            with self.turn:
                database = self.server.create(database_of(place.catalog))
            place = replace(place, catalog=self.server.address(database))
        if place.data:
            with self.turn:
                bucket = self.objects.create(self.objects.folder(place.data).parent)
            place = replace(place, data=f"{bucket}/data")
        try:
            yield place
        finally:
            if database:
                self.server.drop(database)
            if bucket:
                self.objects.drop(bucket)
            shutil.rmtree(folder, ignore_errors=True)

    def environment(self, place: Place) -> dict[str, str]:
        """Return the environment that a process needs to reach an object store."""
        return self.objects.environment if place.data else {}

    def call(self, function: Callable[..., Any], *arguments: Any, orders: Orders = NOTHING, **options: Any) -> Outcome:
        """Call a function in a process of its own; returns its outcome."""
        return self.workers.call(function, *arguments, orders=orders, **options)

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """Return what was made for the key; the first call makes it, while the others wait."""
        with self.turn:
            if key not in self._made_once:
                self._made_once[key] = make()
            made: T = self._made_once[key]
            return made

    def reference(self, action: str, setting: str = "laptop", *, sends: bool = False) -> Reference:
        """Return what the action does without a fault."""
        return self.once((action, setting), partial(self._refer, action, setting, sends))

    def _refer(self, action: str, setting: str, sends: bool) -> Reference:
        with self.copy(setting) as (place, template):
            record = self.root / f"{action}-{setting}.record"
            orders = Orders(root=place.root, record=record, eras=template.eras, sends=sends)
            environment = self.environment(place)
            require(self.call(actions.do, ACTIONS[action], place, orders=orders, environment=environment))
            later = Orders(eras=template.eras)
            state = require(self.call(actions.state, place, orders=later, environment=environment))
            return Reference(list(recorded(record)), state)

    def verify(
        self, place: Place, before: State, after: State, eras: Eras, chance: random.Random | None = None
    ) -> list[str]:
        """Return the violations of a store; a random share of the stores is checked deeply."""
        deep = chance is None or chance.random() < _DEEP
        return self.findings(partial(checks.verify, deep=deep), place, before, after, Orders(eras=eras))

    def findings(self, check: Callable[..., list[str]], place: Place, *arguments: Any) -> list[str]:
        """Return what a check finds, or that it did not end. The orders are among its arguments."""
        orders = next((each for each in arguments if isinstance(each, Orders)), NOTHING)
        outcome = self.call(check, place, *arguments, orders=orders, environment=self.environment(place))
        if outcome.ended_well:
            found: list[str] = outcome.value
            return found
        return [f"the check: {outcome}"]

    def _made(self, place: Place, environment: dict[str, str] | None = None) -> Template:
        eras = [(0.0, -DAYS_OLD * 86400.0)] if not place.catalog else []  # a server has its own clock
        require(self.call(actions.do, actions.make_old, place, orders=Orders(eras=eras), environment=environment))
        if eras:
            eras.append((time.time(), 0.0))
        require(self.call(actions.do, actions.make_fresh, place, orders=Orders(eras=eras), environment=environment))
        before = require(self.call(actions.state, place, orders=Orders(eras=eras), environment=environment))
        return Template(place, before, tuple(eras))


_DEEP = 0.06
"""The share of stores that are also used after a fault, which takes ten times as long as the other checks."""


def require(outcome: Outcome) -> Any:
    """Return the value of a call. Raises AssertionError with the trace if it failed."""
    assert outcome.ended_well, f"{outcome}\n{outcome.trace}"
    return outcome.value


def spread(chance: random.Random, among: Sequence[Any], count: int) -> list[Any]:
    """Return so many random elements, in their order, or all."""
    return [among[place] for place in sorted(chance.sample(range(len(among)), min(count, len(among))))]


def chosen(chance: random.Random, cases: Sequence[Any], count: int) -> list[Any]:
    """Return so many cases: the first ones if few are asked for, because those find the most."""
    return list(cases[:count]) if count < _FEW else spread(chance, cases, count)


_FEW = 4
