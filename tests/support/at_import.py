"""Find what runs while a module is imported, and which modules copy a name at that moment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.support.requirements import ROOT


def nodes_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node that is evaluated while the module is imported: all but the bodies of functions."""
    yield tree
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        # the body runs later; defaults, decorators and annotations belong to the import
        parts: list[ast.AST | None] = [tree.args]
        if not isinstance(tree, ast.Lambda):
            parts += [*tree.decorator_list, tree.returns]
        children: Iterator[ast.AST | None] = iter(parts)
    else:
        children = ast.iter_child_nodes(tree)
    for child in children:
        if child is not None:
            yield from nodes_at_import(child)


class _Module:
    """One module of the package: its syntax tree, the nodes that run at import, and its imported names."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = name
        self.tree = tree
        self.early = {id(node) for node in nodes_at_import(tree)}
        self.imported: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                self.imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}

    def uses(self, module: str, name: str) -> Iterator[tuple[ast.AST, bool]]:
        """Yield each place that reads `module.name`, and whether it copies the value at import."""
        for node in ast.walk(self.tree):
            early = id(node) in self.early
            if isinstance(node, ast.ImportFrom) and node.module == module and self.name != module:
                if any(alias.name == name for alias in node.names):
                    yield node, early
            elif isinstance(node, ast.Name) and self.name == module:
                if node.id == name and isinstance(node.ctx, ast.Load):
                    yield node, early
            elif isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Load):
                base = ast.unparse(node.value)
                if self.imported.get(base, base) == module:
                    yield node, early


def copies(module: str, name: str) -> list[str]:
    """Return where the package copies `module.name` at import: a new value in the module would not be read there.

    A default of a function or of a dataclass field, a decorator, another constant, and `from module import name`.
    """
    return [f"{at}:{node.lineno}" for at, node, early in _uses(module, name) if early]  # type: ignore[attr-defined]


def readers(module: str, name: str) -> list[str]:
    """Return where the package reads `module.name` each time it runs."""
    return [f"{at}:{node.lineno}" for at, node, early in _uses(module, name) if not early]  # type: ignore[attr-defined]


def _uses(module: str, name: str) -> list[tuple[str, ast.AST, bool]]:
    return [(found.name, node, early) for found in _package() for node, early in found.uses(module, name)]


@cache
def _package() -> list[_Module]:
    modules = []
    for path in sorted((ROOT / "sigprobe").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        modules.append(_Module(name, ast.parse(path.read_text(encoding="utf-8"))))
    return modules
