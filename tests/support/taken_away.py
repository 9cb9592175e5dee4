"""Remove a protection for a negative control, and fail if the code never used the replacement.

A patched constant that a dataclass copied at import, or a function that another module imported by name, takes nothing
away: the control would then pass or fail by chance.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from tests.support.at_import import copies, readers


@contextmanager
def taken_away(
    owner: ModuleType | type, name: str, replacement: Any, *, copied_by: tuple[str, ...] = ()
) -> Iterator[None]:
    """Replace an attribute in the block. A function must be called; of a constant nothing may hold a copy.

    `copied_by` names the modules whose copy the control replaces as well. An AssertionError here wins over whatever
    the block raised: a control must fail for its named reason alone.
    """
    assert hasattr(owner, name), f"{owner.__name__} has no {name}"
    calls: list[str] = []
    value = replacement
    if callable(replacement):

        def value(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return replacement(*args, **options)

    else:
        assert isinstance(owner, ModuleType), "only a constant of a module can be checked"
        hold_read(owner.__name__, name, copied_by)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, value)
        try:
            yield
        finally:
            assert not callable(replacement) or calls, f"{owner.__name__}.{name} was replaced, but never called"


def hold_read(module: str, name: str, copied_by: tuple[str, ...] = ()) -> None:
    """Assert that the package reads `module.name` when it uses it, and holds no copy made at import."""
    assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
    assert readers(module, name), f"nothing in the package reads {module}.{name}: a new value takes nothing away"
    found = [at for at in copies(module, name) if at.partition(":")[0] not in copied_by]
    assert not found, f"{module}.{name} is copied at import by {', '.join(found)}: a new value takes nothing away"


def hold_patch(source: str) -> str:
    """Assert this of every assignment of a patch that another process runs, and return the patch."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
    targets = [
        (names.get(base := ast.unparse(target.value), base), target.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute)
    ]
    assert targets or not source.strip(), "the patch replaces nothing"
    for owner, name in targets:
        if owner.startswith("sigprobe."):
            hold_read(owner, name, tuple(other for other, same in targets if same == name))
    return source
