"""The house: rooms import only from the rooms before them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = (
    *("errors", "version", "text", "backend", "kernels", "layers", "losses"),
    *("clipping", "schedules", "optim", "storage"),
    *("diagnostics", "engine", "parallel", "data", "training", "exchange", "models", "visual", "atlas", "explain"),
    *("learn", "minidl", "cli", "__main__"),
)


def room_of(module: str) -> str:
    """The room of a module of minidl; `minidl` itself is the public face."""
    parts = module.split(".")
    return parts[1] if parts[0] == "minidl" and len(parts) > 1 else parts[0]


def imports(source: str) -> set[str]:
    """The modules of the project that `source` imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"minidl.{a.name}" for a in node.names} if node.module == "minidl" else {node.module}
    return {module for module in found if module.split(".")[0] in ("minidl", "models")}


def arrows(root: Path = ROOT) -> set[tuple[str, str, str]]:
    """(importing room, imported room, file) for every import from one room to another."""
    found = set()
    for path in [*(root / "minidl").rglob("*.py"), *(root / "models").rglob("*.py")]:
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for module in imports(path.read_text("utf-8")):
            if room_of(module) != room_of(name):
                found.add((room_of(name), room_of(module), str(path.relative_to(root))))
    return found


def test_every_arrow_goes_to_a_room_before():
    assert [a for a in sorted(arrows()) if ROOMS.index(a[1]) > ROOMS.index(a[0])] == []


def test_only_the_public_face_and_the_command_line_import_the_networks():
    assert {importing for importing, imported, _ in arrows() if imported == "models"} <= {"minidl", "cli"}


def test_only_the_command_line_imports_argparse():
    importing = {path for path in (ROOT / "minidl").rglob("*.py") if "argparse" in path.read_text("utf-8")}
    assert {path.parent.name for path in importing} == {"cli"}


def test_there_is_no_room_without_a_place_in_the_order():
    files = {
        path.relative_to(ROOT / "minidl").parts[0].removesuffix(".py") for path in (ROOT / "minidl").rglob("*.py")
    }
    assert files - {"__init__"} <= set(ROOMS)


def test_an_arrow_back_is_seen(tmp_path):
    (tmp_path / "minidl" / "data").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    (tmp_path / "minidl" / "data" / "x.py").write_text("def f():\n    from minidl import visual\n")
    assert arrows(tmp_path) == {("data", "visual", "minidl/data/x.py")}
