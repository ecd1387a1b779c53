"""The rooms of the package: imports point one way, libraries have one door, pure modules touch nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "miroir_cli"

LAYERS = (
    ("errors", "model", "metrics", "secrecy", "wire"),
    ("topology",),
    ("node",),
    ("store",),
    ("fencing",),
    ("cluster",),
    ("replication",),
    ("indexes",),
    ("documents",),
    ("search",),
    ("migration",),
    ("backup",),
    ("checkup",),
    ("tasks",),
    ("queues",),
    ("proxy",),
    ("dev",),
    ("cli",),
)
"""A room imports from its own layer and from those above it in this list."""

DOORS = {
    "brotli": ("proxy/body.py",),
    "fsspec": ("backup/remote.py",),
    "httptools": ("node/",),
    "httpx": ("node/",),
    "prometheus_client": ("metrics.py",),
    "pyarrow": ("documents/",),
    "redis": ("store/redis/",),
    "rich": ("cli/", "dev/demo"),
    "sniffio": ("node/",),
    "sqlite3": ("store/sqlite/", "dev/engine/store.py"),
    "sqlite_utils": ("store/sqlite/",),
    "starlette": ("dev/engine/",),
    "tenacity": ("node/", "documents/", "replication/", "tasks/"),
    "tomlkit": ("topology/file.py", "topology/document.py"),
    "typer": ("cli/",),
    "uvicorn": ("dev/engine/", "proxy/server.py"),
    "xxhash": ("documents/", "search/", "node/", "topology/placement.py"),
    "zstandard": ("documents/", "backup/packing.py"),
}
"""Where a library may be imported (at run time): its use is known to that room alone."""

ANYWHERE = {"msgspec"}

PURE = (
    "cli/caution.py",
    "cli/grid.py",
    "cli/live.py",
    "cli/manual.py",
    "model.py",
    "secrecy.py",
    "topology/placement.py",
    "topology/assignment.py",
    "topology/capacity.py",
    "topology/effective.py",
    "topology/lines.py",
    "topology/serve.py",
    "topology/sizing.py",
    "topology/table.py",
    "node/judgement.py",
    "node/wording.py",
    "node/standing.py",
    "store/aliases.py",
    "store/standing.py",
    "store/moving.py",
    "store/writing.py",
    "store/marking.py",
    "store/naming.py",
    "store/redis/columns.py",
    "store/redis/fields.py",
    "store/redis/keys.py",
    "store/redis/lease_scripts.py",
    "store/redis/script.py",
    "store/redis/spans.py",
    "store/redis/task_record.py",
    "store/redis/values.py",
    "replication/copies.py",
    "replication/election.py",
    "replication/verdict.py",
    "indexes/differences.py",
    "indexes/settings.py",
    "backup/adopt.py",
    "backup/manifest.py",
    "backup/retention.py",
    "checkup/catalogue.py",
    "checkup/config_rules.py",
    "checkup/finding.py",
    "checkup/facts.py",
    "checkup/key_rules.py",
    "checkup/layout_rules.py",
    "checkup/limit_rules.py",
    "checkup/machine_rules.py",
    "checkup/node_rules.py",
    "checkup/redis_rules.py",
    "checkup/run_rules.py",
    "checkup/state_rules.py",
    "checkup/index_rules.py",
    "documents/route.py",
    "proxy/access.py",
    "proxy/actions.py",
    "proxy/master.py",
    "proxy/nesting.py",
    "proxy/openapi.py",
    "proxy/parameters.py",
    "proxy/query.py",
    "proxy/shapes.py",
    "proxy/shares.py",
    "proxy/sizes.py",
    "proxy/setting_bodies.py",
    "search/compatibility.py",
    "search/filters.py",
    "search/refusal.py",
    "search/request.py",
    "search/view.py",
    "search/window.py",
    "search/federation.py",
    "search/hidden.py",
    "search/pins.py",
    "search/plan.py",
    "search/rank.py",
    "search/reach.py",
    "search/merge.py",
    "search/facets.py",
    "search/facet_values.py",
    "search/distinct.py",
    "search/narrow.py",
    "search/outcomes.py",
    "search/sorting.py",
    "search/geo.py",
    "search/caveats.py",
    "search/hybrid.py",
    "search/likeness.py",
    "search/rescore.py",
    "search/rules.py",
    "search/scores.py",
    "search/semantics.py",
    "search/weights.py",
    "migration/step.py",
    "migration/shard.py",
    "migration/target.py",
    "migration/plan.py",
    "migration/compare.py",
    "queues/consequence.py",
    "queues/measure.py",
    "tasks/view.py",
    "tasks/counting.py",
    "tasks/ending.py",
    "documents/verdicts.py",
    "documents/refusals.py",
    "proxy/spelling.py",
)
"""Modules whose functions depend on their arguments alone."""

IMPURE_MODULES = {
    "asyncio", "datetime", "http", "io", "logging", "os", "pathlib", "random", "secrets", "shutil", "signal", "socket",
    "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"open", "input", "print"}


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement: the module's dotted name, and whether it happens at run time and on loading."""

    module: str
    at_run_time: bool
    on_loading: bool


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a module, wherever it stands; `from package import module` names the module."""
    parents = path.relative_to(ROOT).parent.parts
    yield from _walk(ast.parse(path.read_text()), parents, at_run_time=True, on_loading=True)


def _walk(node: ast.AST, parents: tuple[str, ...], *, at_run_time: bool, on_loading: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, at_run_time, on_loading)
    elif isinstance(node, ast.ImportFrom):
        source = _source(node, parents)
        for alias in node.names:
            target = f"{source}.{alias.name}"
            yield Import(target if _is_module(target) else source, at_run_time, on_loading)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        for statement in node.body:
            yield from _walk(statement, parents, at_run_time=False, on_loading=False)
        for statement in node.orelse:
            yield from _walk(statement, parents, at_run_time=at_run_time, on_loading=on_loading)
    else:
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, parents, at_run_time=at_run_time, on_loading=on_loading and not inside)


def _source(node: ast.ImportFrom, parents: tuple[str, ...]) -> str:
    """The absolute name behind `from X import`, also when X is relative to the folder `parents`."""
    if not node.level:
        return str(node.module)
    above = parents[: len(parents) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists()


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def layer_of(room: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_to_the_left_only(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    for found in imports_of(path):
        if found.module.split(".")[0] != "miroir_cli":
            continue
        other = room_of(found.module)
        if other is not None:
            assert layer_of(other) <= layer_of(room), f"{name_of(path)} imports {found.module}"


def test_every_room_has_a_layer() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()}
    assert rooms - {"__init__", "__main__"} <= {room for layer in LAYERS for room in layer}


def test_modules_do_not_import_each_other_in_circles() -> None:
    names = {f"miroir_cli.{name_of(path)[:-3].replace('/', '.').removesuffix('.__init__')}" for path in modules()}
    graph = {
        f"miroir_cli.{name_of(path)[:-3].replace('/', '.').removesuffix('.__init__')}": {
            found.module for found in imports_of(path) if found.on_loading and found.module in names
        }
        for path in modules()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_each_library_has_one_door(path: Path) -> None:
    for found in imports_of(path):
        doors = DOORS.get(found.module.split(".")[0])
        if found.at_run_time and doors is not None:
            assert name_of(path).startswith(doors), f"{name_of(path)} imports {found.module}: belongs in {doors}"


def test_every_dependency_has_a_door() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for extra, names in project["optional-dependencies"].items() if extra != "dev" for name in names]
    for requirement in [*project["dependencies"], *extras]:
        library = requirement.split(">")[0].replace("-", "_")
        assert library in DOORS or library in ANYWHERE, library


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_touch_nothing(name: str) -> None:
    path = PACKAGE / name
    for found in imports_of(path):
        assert found.module.split(".")[0] not in IMPURE_MODULES, f"{name} imports {found.module}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"{name} calls {node.func.id}"


def test_the_dev_engine_knows_nothing_of_miroir_but_errors_and_values() -> None:
    for path in (PACKAGE / "dev" / "engine").glob("*.py"):
        for found in imports_of(path):
            if found.module.startswith("miroir_cli."):
                known = ("miroir_cli.errors", "miroir_cli.model", "miroir_cli.dev.engine")
                assert found.module.startswith(known), f"{name_of(path)} imports {found.module}"


def test_one_event_loop_is_started_in_one_place() -> None:
    starters = [
        name_of(path)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.run"
    ]
    assert [name for name in starters if not name.startswith("dev/engine/")] == ["cli/console.py"]


def test_the_name_of_an_index_on_a_node_is_put_into_paths_and_parameters_at_the_node_door_only() -> None:
    """There its type says that it is the name on the nodes (`StoredUid`): elsewhere nobody could tell."""
    for path in modules():
        if name_of(path).startswith(("node/", "dev/engine/")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                assert not str(node.values[0].value).startswith("indexes/"), name_of(path)
            if isinstance(node, ast.Call):
                assert "indexUids" not in [keyword.arg for keyword in node.keywords], name_of(path)
            if isinstance(node, ast.Dict) and not name_of(path).startswith(("proxy/", "tasks/view.py")):
                keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
                assert "indexUids" not in keys, name_of(path)
