"""The source keeps the layout that the design describes."""

import ast
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from schemas import RECORD_TYPES, load_model

ROOT = Path(__file__).parent.parent
LAYERS = ("schemas", "resources", "pipelines")
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield node.module or ""


def test_there_are_sources_of_every_layer() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(LAYERS)


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_go_one_way(path: Path) -> None:
    above = LAYERS[LAYERS.index(path.relative_to(ROOT).parts[0]) + 1 :]
    assert [module for module in _imported(_tree(path)) if module.split(".")[0] in (*above, "tests")] == []


def test_no_module_imports_one_that_imports_it() -> None:
    """No circle, however long; imports inside functions and those for types count as well."""
    modules = {_module(path): path for path in SOURCES}
    imports = {
        name: {module for module in _modules_imported(_tree(path)) if module in modules} - {name}
        for name, path in modules.items()
    }
    TopologicalSorter(imports).prepare()  # CycleError names the circle


def test_no_room_imports_one_that_imports_it() -> None:
    """A room is a folder below a layer, with all modules in it."""
    rooms: dict[str, set[str]] = {}
    for path in SOURCES:
        room = _room(_module(path))
        rooms.setdefault(room, set()).update(
            _room(module) for module in _modules_imported(_tree(path)) if module.split(".")[0] in LAYERS
        )
    TopologicalSorter({room: others - {room} for room, others in rooms.items()}).prepare()


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _room(module: str) -> str:
    """Return the folder of a module that lies in one. A module directly in a layer is a room of its own."""
    return ".".join(module.split(".")[:2])


def _modules_imported(tree: ast.Module) -> Iterator[str]:
    """Yield every imported module; `from folder import module` is an import of the module."""
    known = {_module(path) for path in SOURCES}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_only_the_clock_asks_for_the_time() -> None:
    asking = [
        f"{_name(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr in ("now", "utcnow", "today")
        and ast.unparse(node.value).split(".")[-1] in ("datetime", "date")
    ]
    assert [place.partition(":")[0] for place in asking] == ["resources/clock.py"]


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the node and what is evaluated with it; of a function only its decorators and defaults."""
    yield node
    below: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        defaults = [*node.args.defaults, *(default for default in node.args.kw_defaults if default is not None)]
        below = [*defaults, *([] if isinstance(node, ast.Lambda) else node.decorator_list)]
    for child in below:
        yield from _run_at_import(child)


def test_no_process_of_the_store_opens_its_catalog_with_a_second_sqlite() -> None:
    """Its `close` would take the locks of DuckDB's SQLite: see `sqlite_file`. Others open files of their own."""
    opening = {
        _name(path)
        for path in SOURCES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sqlite3.connect"
    }
    own = {"importing/corrections.py", "importing/rejected_records.py", "erasure/derived_files.py"}
    assert opening == {f"resources/{it}" for it in (*own, "record_store/vacuuming.py")}


def test_the_environment_is_not_read_at_import() -> None:
    """A default argument of the settings does not count: it is the mapping itself, not one of its values."""
    reading = [
        (_name(path), ast.unparse(node))
        for path in SOURCES
        for node in _run_at_import(_tree(path))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"))
        or (isinstance(node, ast.alias) and node.name in ("environ", "getenv"))
    ]
    assert reading == [("resources/settings.py", "os.environ")]
    defaults = [
        ast.unparse(default)
        for node in ast.walk(_tree(ROOT / "resources/settings.py"))
        if isinstance(node, ast.FunctionDef)
        for default in node.args.defaults
    ]
    assert "os.environ" in defaults


def test_process_wide_state_is_changed_in_one_module() -> None:
    """Such changes are assignments to `sys.modules` and `os.environ`, and changes of the import paths."""
    changing = {
        _name(path)
        for path in SOURCES
        for node in ast.walk(_tree(path))
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Store | ast.Del)
            and ast.unparse(node.value) in ("sys.modules", "os.environ")
        )
        or (isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("sys.meta_path.", "sys.path.")))
    }
    assert changing == {"resources/process_state.py"}


def test_dagster_finds_the_same_module_by_either_way() -> None:
    """`dg dev` reads pyproject.toml, `dagster dev` reads workspace.yaml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["dg"]["project"]
    (location,) = yaml.safe_load((ROOT / "workspace.yaml").read_text("utf-8"))["load_from"]
    assert location["python_module"] == {
        "module_name": project["code_location_target_module"],
        "location_name": project["code_location_name"],
    }
    assert project["code_location_target_module"] == "pipelines.definitions"


def test_the_lock_names_no_index_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert "duckdb==1.5.5" in lock.splitlines()
    assert "://" not in lock


@pytest.mark.parametrize("name", RECORD_TYPES)
def test_a_record_type_is_named_as_its_key(name: str) -> None:
    assert load_model(name).record_type().name == name
