"""The house rules that can be checked: sizes, imports, layers, what is public, and a wheel that works."""

import ast
import importlib
import io
import os
import pkgutil
import statistics
import subprocess
import sys
import sysconfig
import tokenize
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import holdfast
from conftest import REPOSITORY

SOURCE = REPOSITORY / "src" / "holdfast"
FILES = sorted(SOURCE.rglob("*.py"))

MAX_FILE_LINES = 400
MAX_BODY_LINES, MEDIAN_BODY_LINES, P90_BODY_LINES = 60, 8, 25
MAX_ARGUMENTS = 8

HEAVY = {"torch", "sklearn", "transformers", "fastapi", "typer", "ray", "matplotlib"}
MAY_RUN_CODE = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

CLEAN_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
SOURCE_ENVIRONMENT = CLEAN_ENVIRONMENT | {"PYTHONPATH": str(SOURCE.parent)}


class Function(NamedTuple):
    """A function of the library, as its syntax tree shows it."""

    where: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    of_class: str | None
    body_lines: int

    @property
    def is_public_constructor(self):
        return (
            self.node.name == "__init__" and self.of_class is not None and not self.of_class.startswith("_")
        )

    @property
    def n_arguments(self):
        spec = self.node.args
        names = [argument.arg for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
        return len(names) + bool(spec.vararg) + bool(spec.kwarg) - (names[:1] in (["self"], ["cls"]))


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def code_lines_of(text):
    """Return the numbers of the lines that hold code: no blank lines, no comments."""
    layout = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def functions_of(path):
    code = code_lines_of(path.read_text(encoding="utf-8"))
    tree = tree_of(path)
    owner = {
        id(child): node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for child in node.body
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
            body = code & set(range(statements[0].lineno, node.end_lineno + 1)) if statements else ()
            where = f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}"
            yield Function(where, node, owner.get(id(node)), len(body))


FUNCTIONS = [function for path in FILES for function in functions_of(path)]


def test_the_ruler_measures_what_it_says():
    text = 'def f(a):\n    """Doc.\n\n    More."""\n    # why\n\n    b = (\n        a,\n    )\n    return b\n'
    code = code_lines_of(text)
    assert code & set(range(5, 11)) == {7, 8, 9, 10}


def test_files_are_short():
    long = {str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: lines for name, lines in long.items() if lines > MAX_FILE_LINES} == {}


def test_functions_are_short():
    lines = [function.body_lines for function in FUNCTIONS]
    assert {
        function.where: function.body_lines for function in FUNCTIONS if function.body_lines > MAX_BODY_LINES
    } == {}
    assert statistics.median(lines) <= MEDIAN_BODY_LINES
    within = sum(count <= P90_BODY_LINES for count in lines) / len(lines)
    assert within >= 0.9


def test_functions_take_few_arguments():
    many = {
        f.where: f.n_arguments
        for f in FUNCTIONS
        if f.n_arguments > MAX_ARGUMENTS and not f.is_public_constructor
    }
    assert many == {}


def test_every_function_says_what_it_returns():
    assert [function.where for function in FUNCTIONS if function.node.returns is None] == []


def test_nothing_prints_and_nothing_unpickles():
    found = []
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if _forbidden(node):
                found.append(f"{path.relative_to(REPOSITORY)}:{node.lineno} {ast.unparse(node)[:60]}")
    assert found == []


def _forbidden(node):
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] in MAY_RUN_CODE for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0] in MAY_RUN_CODE
    if isinstance(node, ast.Call):
        unpickles = any(
            word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in node.keywords
        )
        return unpickles or ast.unparse(node.func) in {
            "print",
            "eval",
            "exec",
            "torch.load",
            "builtins.print",
        }
    return False


def modules():
    return [module.name for module in pkgutil.walk_packages(holdfast.__path__, "holdfast.")]


def test_every_module_keeps_the_promise_of_its_all():
    """Their order is ruff's business (RUF022)."""
    broken = []
    for name in modules():
        if name.endswith("__main__"):
            continue
        module = importlib.import_module(name)
        public = getattr(module, "__all__", [])
        broken += [f"{name}.{entry}" for entry in public if not hasattr(module, entry)]
        broken += [f"{name} lists {entry} twice" for entry in set(public) if public.count(entry) > 1]
    assert broken == []


def test_what_is_public_is_sorted_importable_and_documented():
    names = list(holdfast.__all__)
    assert names == sorted(names, key=_as_ruff_sorts)
    shown = {name for name in dir(holdfast) if not isinstance(getattr(holdfast, name), ModuleType)}
    assert {name for name in shown if not name.startswith("_")} == {n for n in names if not n.startswith("_")}
    for name in names:
        value = getattr(holdfast, name)
        assert name.startswith("__") or value.__doc__, f"holdfast.{name} has no docstring"


def _as_ruff_sorts(name):
    """Capitals, then classes, then the rest: rule RUF022 repairs the list when it is wrong."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        holdfast.no_such_name  # noqa: B018


def test_importing_holdfast_is_fast_and_light():
    program = (
        "import sys, time; begin = time.perf_counter(); import holdfast; "
        f"print(time.perf_counter() - begin, *sorted({HEAVY!r} & set(sys.modules)))"
    )
    outputs = [run(sys.executable, "-c", program, env=SOURCE_ENVIRONMENT).stdout.split() for _ in range(3)]
    assert [heavy for _, *heavy in outputs] == [[], [], []]
    assert statistics.median(float(seconds) for seconds, *_ in outputs) < 1


def test_rooms_see_only_what_stands_below_them():
    linter = Path(sysconfig.get_path("scripts")) / "lint-imports"
    if not linter.exists():
        pytest.skip("import-linter is not installed; it comes with the extra 'dev'")
    run(str(linter), "--no-cache", env=SOURCE_ENVIRONMENT, cwd=REPOSITORY)


@pytest.mark.slow
def test_a_wheel_in_a_fresh_environment_runs_the_demo_in_an_empty_folder(tmp_path):
    python = install_wheel(build_wheel(tmp_path / "dist"), tmp_path / "fresh")
    empty = tmp_path / "empty"
    empty.mkdir()
    where = run(str(python), "-c", "import holdfast; print(holdfast.__file__)", cwd=empty).stdout
    assert Path(where.strip()).is_relative_to(tmp_path / "fresh"), "the wheel is not what was imported"
    assert Path(where.strip()).with_name("py.typed").is_file(), "the types are for users too"
    demo = run(str(python.with_name("holdfast")), "demo", "-o", "out", cwd=empty)
    report = empty / "out" / "report.html"
    assert report.is_file(), demo.stdout
    assert report.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")
    assert "report.html" in demo.stdout.splitlines()[-1]
    assert [entry.name for entry in empty.iterdir()] == ["out"]


def build_wheel(folder):
    """Build with the hatchling that is installed here, so that nothing is downloaded."""
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling, from the extra 'dev'")
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    run(sys.executable, "-m", "pip", "wheel", *options, str(REPOSITORY))
    (wheel,) = folder.glob("holdfast-*.whl")
    return wheel


def install_wheel(wheel, environment):
    """Install the wheel alone in a new environment that borrows its dependencies from this one."""
    run(sys.executable, "-m", "venv", "--without-pip", str(environment))
    python = environment / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)
    )
    (packages,) = environment.glob("lib/python*/site-packages")
    # A .pth file adds the folder only: the .pth of this environment's own editable holdfast is not followed.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(*command, env=None, cwd=None):
    """Run a command and show what it said if it failed."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=cwd,
        env=env or CLEAN_ENVIRONMENT,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done
