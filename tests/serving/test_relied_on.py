"""An upgrade of gunicorn that takes away what we rely on fails here, and says what it was."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import cis490_receiver.serving
from cis490_receiver.serving.relied_on import NAMES

FOLDER = Path(inspect.getfile(cis490_receiver.serving)).parent
SOURCE = "\n".join(path.read_text() for path in FOLDER.glob("*.py") if path.name != "relied_on.py")
PAIRS = [(where, name) for where, names in NAMES.items() for name in names]


def has(where: str, name: str) -> bool:
    """Whether a module, a class or the instances of a class have `name`."""
    module, _, cls = where.partition(":")
    thing = importlib.import_module(module)
    if not cls:
        return hasattr(thing, name)
    classes = inspect.getmro(getattr(thing, cls))
    sets = re.compile(rf"\bself\.{name}\b\s*(:[^=]+)?=[^=]")
    return hasattr(classes[0], name) or any(
        sets.search(inspect.getsource(base)) for base in classes if base is not object
    )


@pytest.mark.parametrize(("where", "name"), PAIRS, ids=[f"{where}.{name}" for where, name in PAIRS])
def test_gunicorn_has_what_we_rely_on(where: str, name: str) -> None:
    assert has(where, name)


def test_a_name_that_is_gone_is_noticed() -> None:
    assert not has("gunicorn.workers.gthread:ThreadWorker", "no_such_name")
    assert not has("gunicorn.http.errors", "NoSuchError")


@pytest.mark.parametrize("name", sorted({name for _, name in PAIRS}))
def test_nothing_is_listed_that_is_not_used(name: str) -> None:
    assert re.search(rf"\b{name}\b", SOURCE)


def test_every_method_that_calls_gunicorns_own_is_listed() -> None:
    listed = {name for _, name in PAIRS}
    called = {
        node.func.attr
        for node in ast.walk(ast.parse((FOLDER / "worker.py").read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Call)
        and getattr(node.func.value.func, "id", "") == "super"
    }
    assert called - {"__init__"} <= listed
