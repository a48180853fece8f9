"""Compiled functions: what is kept of one is made anew when its own file changes, so it may depend on no other."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from numba.core.dispatcher import Dispatcher

from pipelines.compiled import INT, compiled

ROOT = Path(__file__).resolve().parents[2]
FILES = [path for path in sorted((ROOT / "pipelines").rglob("*.py")) if "pipelines.compiled import" in path.read_text()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_compiled_function_depends_on_its_own_file_alone(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    of_others = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    found = [one for one in vars(module).values() if isinstance(one, Dispatcher) and one.__module__ == module.__name__]
    assert found
    for one in found:
        assert not of_others & set(one.py_func.__code__.co_names), one.__name__


def test_without_a_folder_to_keep_it_in_a_function_is_compiled_anew_and_other_types_are_refused() -> None:
    made: dict[str, Any] = {}
    exec("def twice(number):\n    return 2 * number", made)  # it has no file
    twice = compiled(INT)(made["twice"])
    assert twice(21) == 42
    with pytest.raises(TypeError):
        twice("21")


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_where_what_is_kept_is_damaged_a_function_is_compiled_anew(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "doubling.py"
    file.write_text(
        "from pipelines.compiled import INT, compiled\n\n"
        "@compiled()\ndef part(number):\n    return number\n\n"
        "@compiled(INT)\ndef twice(number):\n    return 2 * part(number)\n"
    )

    def twice() -> Any:
        spec = importlib.util.spec_from_file_location("doubling", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.twice(21)

    assert twice() == 42
    kept = list((tmp_path / "__pycache__").glob(f"*.{kind}"))
    assert kept
    for one in kept:
        one.write_bytes(b"")
    assert twice() == 42
