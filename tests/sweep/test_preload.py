"""The server from which a sweep forks its runs has imported their code, which may be edited while the sweep runs."""

import ast
from pathlib import Path

from conftest import ROOT

RUN = ROOT / "common" / "run"


def imports_of(path: Path, in_functions: bool) -> set[str]:
    """The files of run/ that a file of this room, or of another one, imports at its head, or in functions, too."""
    tree = ast.parse(path.read_text("utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree) if in_functions else tree.body:
        if isinstance(node, ast.ImportFrom) and (node.level, node.module) in ((1, None), (2, "run")):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 1:
            found.add(node.module)
    return found


def test_it_has_the_files_that_a_run_imports() -> None:
    loaded: set[str] = set()
    new = imports_of(ROOT / "common" / "sweep" / "preload.py", in_functions=False)
    while new:
        loaded |= new
        new = set().union(*(imports_of(RUN / f"{name}.py", in_functions=False) for name in new)) - loaded
    for name in ("run", "probe_run"):
        assert imports_of(RUN / f"{name}.py", in_functions=True) <= loaded
