"""House rules as code: what `ruff` cannot know about this project, and the limits of size.

Each rule is a pure function from a parsed module to findings, and has samples that must
pass and samples that must fail in `test_house_rules.py`. Imports nothing of the suite.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TREES = ("llmhive", "verification", "chaos", "load")
KEY_PREFIX = "llmhive:"
# Who may spell a Redis key: one place on each side of the wall, the prefix's default, this rule,
# and the tests that hold the builders to the checklist's words.
KEY_BUILDERS = (
    "llmhive/app/adapters/redis_keys.py",
    "llmhive/app/settings.py",
    "verification/contract/",
    "verification/selftest/house_rules.py",
    "verification/selftest/test_contract.py",
)
CHECKING_CALLS = {"require", "raises", "eventually", "steadily", "fail", "warns"}
# Decision 0001: white-box test modules may be longer.
WHITE_BOX_LINES = 600
FUNCTION_LINES, MODULE_LINES, CONFTEST_LINES, TEST_LINES = 50, 400, 150, 30
# An experiment is a value: one claim, its fault and its checkers, on one page.
EXPERIMENTS, EXPERIMENT_LINES = "chaos/experiments/", 80


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that breaks a rule, and what was expected there."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed file: its path relative to the root, its text and its tree."""

    path: str
    text: str
    tree: ast.Module


def name_of(call: ast.Call) -> str:
    """The last name of what is called: `approx` for `pytest.approx(…)`."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def docstrings(tree: ast.Module) -> set[int]:
    """The identities of the constants that are docstrings."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, owners) and node.body]
    return {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}


def tolerances_are_absolute(module: Module) -> Iterator[Finding]:
    """`approx` needs `abs=`: a relative tolerance hides the unit."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and name_of(node) == "approx":
            named = {keyword.arg for keyword in node.keywords}
            if len(node.args) != 1 or "abs" not in named or "rel" in named:
                yield Finding(
                    module.path, node.lineno, "approx(value, abs=…) expected, with a unit"
                )


def keys_are_built_in_one_place(module: Module) -> Iterator[Finding]:
    """A Redis key is spelt by its one function on each side of the wall."""
    if module.path.startswith(KEY_BUILDERS) or "/tests/" in module.path:
        return
    prose = docstrings(module.tree)
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Constant) or id(node) in prose:
            continue
        if isinstance(node.value, str) and node.value.startswith(KEY_PREFIX):
            yield Finding(module.path, node.lineno, "a Redis key is built by its one function")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a tree, methods and inner ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def tests_of(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions that pytest would collect from a test file."""
    if Path(module.path).name.startswith("test_"):
        yield from (each for each in functions(module.tree) if each.name.startswith("test_"))


def tests_check_something(module: Module) -> Iterator[Finding]:
    """A test asserts, requires a verdict, expects an error or waits for a condition."""
    for test in tests_of(module):
        calls = {name_of(node) for node in ast.walk(test) if isinstance(node, ast.Call)}
        has_assert = any(isinstance(node, ast.Assert) for node in ast.walk(test))
        is_checked = has_assert or calls & CHECKING_CALLS
        if not is_checked and not any(each.startswith(("assert_", "check_")) for each in calls):
            yield Finding(module.path, test.lineno, f"{test.name} checks nothing")


def asserts_observe_something(module: Module) -> Iterator[Finding]:
    """`assert True` and its like observe nothing."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant):
            yield Finding(module.path, node.lineno, "an assert compares something observed")


RULES: tuple[Callable[[Module], Iterator[Finding]], ...] = (
    tolerances_are_absolute,
    keys_are_built_in_one_place,
    tests_check_something,
    asserts_observe_something,
)


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from its first statement on, without its docstring."""
    body = node.body
    has_docstring = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    body = body[1:] if has_docstring and len(body) > 1 else body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def within_sizes(module: Module) -> Iterator[Finding]:
    """Functions, modules, conftests and test bodies stay under their hard limits."""
    lines, name = module.text.count("\n"), Path(module.path).name
    limit = WHITE_BOX_LINES if module.path.startswith("llmhive/tests/") else MODULE_LINES
    limit = CONFTEST_LINES if name == "conftest.py" else limit
    limit = EXPERIMENT_LINES if module.path.startswith(EXPERIMENTS) else limit
    if lines > limit:
        yield Finding(module.path, 1, f"{lines} lines, at most {limit} expected")
    tests = {id(each) for each in tests_of(module)}
    for function in functions(module.tree):
        allowed = TEST_LINES if id(function) in tests else FUNCTION_LINES
        if code_lines(function) > allowed:
            message = f"{function.name} has {code_lines(function)} code lines, at most {allowed}"
            yield Finding(module.path, function.lineno, message)


def parse(path: str, text: str) -> Module:
    """A module from its text."""
    return Module(path, text, ast.parse(text, path))


def house(root: Path) -> list[Module]:
    """Every Python file of the house, the two in the root included."""
    files = [root / "noxfile.py", root / "conftest.py"]
    files += [file for tree in TREES for file in sorted((root / tree).rglob("*.py"))]
    return [parse(f.relative_to(root).as_posix(), f.read_text()) for f in files if f.exists()]


def fan_in(modules: list[Module]) -> Counter[str]:
    """How many modules import each module of the house."""
    imported: Counter[str] = Counter()
    for module in modules:
        froms = [node for node in ast.walk(module.tree) if isinstance(node, ast.ImportFrom)]
        imported.update({str(node.module) for node in froms if str(node.module).startswith(TREES)})
    return imported


def report_sizes(modules: list[Module]) -> str:
    """The ten largest functions and modules, and the ten most imported modules."""
    longest = sorted(
        (
            (code_lines(each), f"{m.path}:{each.name}")
            for m in modules
            for each in functions(m.tree)
        ),
        reverse=True,
    )
    largest = sorted(((m.text.count("\n"), m.path) for m in modules), reverse=True)
    parts = {"functions": longest[:10], "modules": largest[:10]}
    parts["fan-in"] = [(count, name) for name, count in fan_in(modules).most_common(10)]
    rows = [
        f"{title}\n" + "\n".join(f"  {n:4} {w}" for n, w in part) for title, part in parts.items()
    ]
    return "\n".join(rows)


def main(arguments: list[str]) -> int:
    """Judge the house in the working directory by `rules` or `sizes`; 1 means findings."""
    modules = house(Path.cwd())
    judges = (within_sizes,) if arguments == ["sizes"] else RULES
    findings = [finding for module in modules for judge in judges for finding in judge(module)]
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    if arguments == ["sizes"]:
        sys.stdout.write(report_sizes(modules) + "\n")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
