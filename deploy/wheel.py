"""Builds the wheel: the three packages of the repository become parts of one package, `records_exchange`.

In the repository the packages are `pipelines`, `resources` and `schemas`. Installed under these names they could hide
packages of others, or be hidden by them. So this hook of Hatch copies the sources and rewrites two things in them:
each `from schemas.… import …`, and each string that is exactly a module's name, alone or before `:name`.
An editable installation has the sources as they are.
"""

import ast
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "records_exchange"
LAYERS = ("pipelines", "resources", "schemas")
_STRING = re.compile(r"([\w.]+)(:\w+)?")


class CustomBuildHook(BuildHookInterface[Any]):
    """Adds the rewritten sources to the wheel, and names the command's function there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepare the files before the wheel is written."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="records-wheel-")
        target = Path(self._folder.name) / PACKAGE
        copy_sources(Path(self.root), target)
        build_data["force_include"][str(target)] = PACKAGE
        for name, function in self.metadata.core.scripts.items():
            self.metadata.core.scripts[name] = f"{PACKAGE}.{function}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copy."""
        if version != "editable":
            self._folder.cleanup()


def copy_sources(root: Path, target: Path) -> None:
    """Copy the three packages and the configurations of Dagster to the target, with the names rewritten."""
    ignored = shutil.ignore_patterns("__pycache__", "*.py[co]", "*.md", Path(__file__).name)
    for folder in (*LAYERS, "deploy"):
        shutil.copytree(root / folder, target / folder, ignore=ignored)
    (target / "__init__.py").write_text('"""Bulk export and reversible bulk import of an account\'s records."""\n')
    modules = {_module(path, target) for layer in LAYERS for path in (target / layer).rglob("*.py")}
    for path in target.rglob("*.py"):
        path.write_bytes(rewritten(path.read_bytes(), modules))


def rewritten(source: bytes, modules: set[str]) -> bytes:
    """Returns the source with the names of our modules inside the package. Raises ValueError if that fails."""
    lines = source.splitlines(keepends=True)
    places = sorted(_places(ast.parse(source), modules), reverse=True)
    for line, column, name in places:
        text = lines[line - 1]
        at = text.find(name.encode(), column)
        if at < 0:
            raise ValueError(f"Line {line} has {name} on another line than its statement.")
        lines[line - 1] = text[:at] + f"{PACKAGE}.".encode() + text[at:]
    return b"".join(lines)


def _places(tree: ast.Module, modules: set[str]) -> Iterator[tuple[int, int, str]]:
    """Yields line, column and name: the name is in that line, at the column or after it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] in LAYERS for alias in node.names):
            raise ValueError(f"Line {node.lineno} has `import …` of our own module. Write `from … import …`.")
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in LAYERS:
            yield node.lineno, node.col_offset, node.module
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = _STRING.fullmatch(node.value)
            if found and "." in found[1] and found[1] in modules:
                yield node.lineno, node.col_offset, node.value


def _module(path: Path, target: Path) -> str:
    return ".".join(path.relative_to(target).with_suffix("").parts).removesuffix(".__init__")
