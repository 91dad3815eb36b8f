"""The import rule that stands at the top of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "cis490_receiver"
NAME = "cis490_receiver"

LEAVES = {"protocol", "errors", "logfmt", "clock", "i_json", "times", "page", "progress", "tally"}
SMALL = LEAVES | {
    "stamps",
    "models",
    "withdrawal",
    "filters",
    "archive",
    "files",
    "commandline",
    "configuration",
    "config",
}
BASES = {"storage.base", "index.base", "state.base"}
INTAKE = SMALL - {"files"} | BASES | {"policy"}

#: Module or package, and what it may import of ours, besides what is in the same package.
ALLOWED: dict[str, set[str]] = {
    "protocol": set(),
    "errors": {"protocol"},
    "logfmt": set(),
    "clock": set(),
    "i_json": set(),
    "times": set(),
    "page": set(),
    "progress": {"page"},
    "tally": {"logfmt"},
    "stamps": {"protocol"},
    "models": LEAVES | {"stamps"},
    "withdrawal": LEAVES | {"stamps", "models"},
    "filters": LEAVES | {"stamps", "models"},
    "archive": LEAVES,
    "files": LEAVES,
    "git": {"errors"},
    "http_client": {"errors", "i_json"},
    "commandline": {"errors", "page"},
    "configuration": LEAVES | {"files", "commandline"},
    "config": LEAVES | {"files", "configuration"},
    "policy": SMALL - {"files"} | {"state.base"},
    "postgres": {"errors", "logfmt"},
    "storage": SMALL | {"postgres"},
    "index": SMALL | {"postgres"},
    "state": SMALL | {"postgres"},
    "ingest": INTAKE,
    "resumable": INTAKE | {"ingest"},
    "monitor": INTAKE,
    "upkeep": INTAKE | {"ingest", "resumable", "git"},
    "serving": {"config", "logfmt", "errors"},
    "local_cluster": {"errors", "storage.object_client", "storage.signed_requests"},
    "views": INTAKE | {"ingest", "resumable", "monitor", "serving.direct", "serving.refusals"},
    "manual": set(),
    "trainer": SMALL | {"http_client"},
    "client": SMALL - {"config"} | {"git", "http_client"},
}
#: What picks backends, and the commands.
ANYTHING = {"", "__main__", "backends", "commands", "serving.gunicorn_conf"}


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports_of_ours(path: Path) -> set[str]:
    """The modules of ours that a file imports anywhere, relative to the package; '' is the package."""
    known = modules()
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name == NAME or name.startswith(NAME + "."):
                inner = name.removeprefix(NAME).lstrip(".")
                while inner not in known:
                    inner = inner.rpartition(".")[0]
                found.add(inner)
    return found


def within(name: str, allowed: set[str]) -> bool:
    return any(name == entry or name.startswith(entry + ".") for entry in allowed)


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_what_its_layer_may(name: str) -> None:
    top = name.partition(".")[0]
    imported = imports_of_ours(modules()[name])
    if ANYTHING & {name, top}:
        if top == "commands":
            assert not {item for item in imported if within(item, {"views", "client"})}
            kept = {item for item in imported if within(item, {"storage", "index", "state"})}
            assert {item for item in kept if not within(item, BASES)} == set()
        return
    allowed = ALLOWED[top] | ({top} if (PACKAGE / top).is_dir() else set())
    assert {item for item in imported if not within(item, allowed)} == set()


#: What asks for everything that is kept through the protocols in the `base`s.
BEFORE_THE_SEAMS = ("ingest", "views", "monitor", "upkeep", "commands", "policy")
#: Files of the user's own, and the standard streams.
OPENS_FILES = {"commands.export", "commands"}


@pytest.mark.parametrize("name", sorted(name for name in modules() if within(name, set(BEFORE_THE_SEAMS))))
def test_nothing_before_the_seams_knows_where_anything_is_kept(name: str) -> None:
    nodes = list(ast.walk(ast.parse(modules()[name].read_text())))
    assert not [node.lineno for node in nodes if isinstance(node, ast.Attribute) and node.attr == "data_dir"]
    if name in OPENS_FILES:
        return
    for call in (node.func for node in nodes if isinstance(node, ast.Call)):
        assert not (isinstance(call, ast.Name) and call.id == "open"), f"{name}:{call.lineno} opens a file"
        if isinstance(call, ast.Attribute):
            asked = call.value.id if isinstance(call.value, ast.Name) else ""
            assert (asked, call.attr) not in {("os", "open"), ("os", "fstat"), ("os", "stat")}, call.lineno
            assert call.attr not in {"read_bytes", "write_bytes", "read_text", "write_text"}, call.lineno


@pytest.mark.parametrize("name", sorted(modules()))
def test_only_views_and_the_factory_know_flask(name: str) -> None:
    tree = ast.parse(modules()[name].read_text())
    tops = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    knows = any(top.split(".")[0] in {"flask", "werkzeug"} for top in tops)
    assert not knows or name.startswith("views"), f"{name} imports flask at its top"


def test_a_command_starts_without_the_web_framework() -> None:
    code = (
        "import sys; from cis490_receiver.commands import main; main(['config'], standalone_mode=False); "
        "unwanted = {'flask', 'werkzeug', 'sqlite3', 'gunicorn', 'zstandard', 'psycopg', 'obstore'}; "
        "sys.exit(int(bool(unwanted & set(sys.modules))))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


#: What needs the extra `cluster`; a command may ask for the schema, in its function.
OF_CLUSTER = {
    "postgres",
    "state.postgres",
    "index.postgres",
    "storage.postgres",
    "backends.cluster",
    "backends.doctor.both",
    "backends.doctor.database",
    "backends.moving.cluster",
    "backends.moving.ends",
}


def test_a_receiver_on_one_machine_needs_no_database_client() -> None:
    for name, path in modules().items():
        if not within(name, OF_CLUSTER):
            assert "psycopg" not in path.read_text(), name
            body = ast.parse(path.read_text()).body
            names = {node.module or "" for node in body if isinstance(node, ast.ImportFrom)}
            assert not any(within(n.removeprefix(NAME + "."), OF_CLUSTER) for n in names), name
