"""Every command that anybody runs. `nox -l` lists them; the README explains the first two.

Environments are ours rather than nox's: each is built once per set of pins, stamped when
it is whole, and shared by the sessions that need it. Exit codes: 0 pass, 1 fail,
2 unknown, 3 could not run; nox knows only 0 and 1, so 2 and 3 leave by `sys.exit`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import NoReturn

import nox

ROOT = Path(__file__).parent
ENVIRONMENTS = ROOT / ".nox"
PINS = ROOT / "requirements"
REPORTS = ROOT / "reports"
# The service's environments and their pins; `covered` adds coverage to what the service needs.
SERVICES = {"service": "service", "covered": "tests"}
# Where the tests of the service are, and those of the suite itself.
OF_SERVICE = ("--confcutdir=llmhive/tests", "llmhive/tests")
OF_SUITE = ("verification/selftest", "chaos/selftest", "load")
# What the sessions judge.
JUDGED = ["llmhive", "verification", "chaos", "load", "requirements"]
JUDGED += ["conftest.py", "noxfile.py", "pyproject.toml"]
MEASURED = ENVIRONMENTS / "measured"
# The modules of load/ that only Locust's process imports, and its environment can type.
GENERATOR = (
    "closed_loop.py", "dispatch.py", "generator.py", "locustfile.py", "shapes.py", "users.py",
    "wire.py",
)  # fmt: skip

nox.options.sessions = ["lint", "types", "contracts", "sizes", "audit"]
nox.options.sessions += ["tests", "selftest", "verify"]
nox.options.default_venv_backend = "none"


def digest(*paths: Path) -> str:
    """A fingerprint of files and folders: names and contents, caches left out."""
    seen = hashlib.sha256()
    for path in sorted(
        file for root in paths for file in ([root] if root.is_file() else root.rglob("*"))
    ):
        if path.is_file() and not {"__pycache__", ".hypothesis", ".pytest_cache"} & set(path.parts):
            seen.update(
                f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}\0".encode()
            )
            seen.update(path.read_bytes())
    return seen.hexdigest()[:16]


def environment(name: str, pins: str) -> Path:
    """The Python of an environment that holds `requirements/<pins>.txt`, built if missing."""
    folder, wanted = ENVIRONMENTS / name, PINS / f"{pins}.txt"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = folder / "pins"
    if python.exists() and stamp.exists() and stamp.read_text() == digest(wanted):
        return python
    print(f"building the environment {folder.relative_to(ROOT)} (once per set of pins)", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    (ENVIRONMENTS / f"{name}.json").unlink(missing_ok=True)
    venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    must([*pip, "--require-hashes", "-r", str(wanted)], f"pins of {name} could not be installed")
    stamp.write_text(digest(wanted))
    return python


def must(command: list[str], otherwise: str) -> None:
    """Run a preparing step; when it fails the session could not run, which is no verdict."""
    if run(command):
        refuse(otherwise)


def run(command: list[str]) -> int:
    """Run a command in the root; gives its exit code."""
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def run_beside(command: list[str], others: list[list[str]]) -> list[int]:
    """Run a command while the others run; what it says comes last. Gives all exit codes."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT) as child,
    ):
        codes = [*map(run, others), child.wait()]
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout.buffer)
        return codes


def refuse(why: str) -> NoReturn:
    """End because nothing can be run: one line, and 3."""
    print(f"could not run: {why}", file=sys.stderr)
    sys.exit(3)


def service(wheel: Path | None = None, name: str = "service") -> Path:
    """The Python of a service's environment, with the wheel of today's sources or `wheel`."""
    python, noted = environment(name, SERVICES[name]), ENVIRONMENTS / f"{name}.json"
    package = [path for path in (ROOT / "llmhive").iterdir() if path.name not in {"tests", "docs"}]
    judged = [wheel] if wheel else [*package, ROOT / "pyproject.toml"]
    source = digest(*judged, PINS / f"{SERVICES[name]}.txt")
    of = "a named wheel" if wheel else "sources"
    if noted.exists() and json.loads(noted.read_text()).get("digest") == source:
        return python
    pip = [str(python), "-m", "pip", "-q", "--disable-pip-version-check"]
    if wheel is None:
        folder = ENVIRONMENTS / "wheels" / source
        shutil.rmtree(folder, ignore_errors=True)
        must([*pip, "wheel", "--no-deps", "-w", str(folder), "."], "the wheel could not be built")
        wheel = next(folder.glob("*.whl"))
    install = [*pip, "install", "--no-deps", "--force-reinstall", str(wheel)]
    must(install, f"the wheel {wheel} could not be installed")
    facts = {"python": str(python), "digest": source, "wheel": wheel.name, "sha256": digest(wheel)}
    facts["of"] = of
    noted.write_text(json.dumps(facts, indent=2))
    return python


def take(arguments: list[str], option: str) -> str | None:
    """Remove `--option VALUE` or `--option=VALUE` from the arguments and give its value."""
    for index, argument in enumerate(arguments):
        if argument == option and index + 1 < len(arguments):
            value = arguments[index + 1]
            del arguments[index : index + 2]
            return value
        if argument.startswith(f"{option}="):
            del arguments[index]
            return argument.partition("=")[2]
    return None


def is_among(arguments: list[str], *options: str) -> bool:
    """Whether one of the options is given, with `=` or without."""
    return any(each.partition("=")[0] in options for each in arguments)


def session_sources() -> str:
    """The fingerprint of what the sessions judge."""
    return digest(*(ROOT / part for part in JUDGED))


def wheel_among(arguments: list[str]) -> Path | None:
    """The wheel that `--wheel FILE` names, taken out of the arguments."""
    wheel = take(arguments, "--wheel")
    if wheel and not (Path(wheel).is_file() and Path(wheel).match("llmhive-*.whl")):
        refuse(f"--wheel expects a file llmhive-*.whl, got {wheel}")
    return Path(wheel).resolve() if wheel else None


def end(session: nox.Session, code: int) -> None:
    """Leave a session by its exit code, which nox alone would flatten to 0 or 1."""
    if code == 1:
        session.error("fail")
    if code:
        sys.exit(code if code in {2, 3} else 3)


def check(
    session: nox.Session, name: str, commands: list[list[str]], beside: list[str] | None = None
) -> None:
    """Run all commands and write `reports/sessions/<name>.json`, evidence for the report.

    Takes: `beside`, a command that runs while the others do, and says what it has to say last.
    """
    codes = run_beside(beside, commands) if beside else [run(command) for command in commands]
    (REPORTS / "sessions").mkdir(parents=True, exist_ok=True)
    facts = {"session": name, "ok": not any(codes)}
    facts["sources"] = "" if session.posargs else session_sources()  # a part is not the whole
    (REPORTS / "sessions" / f"{name}.json").write_text(json.dumps(facts, indent=2))
    end(session, 1 if any(codes) else 0)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff with all rules, formatting, docstrings, and the house rules."""
    python = str(environment("dev", "dev"))
    ruff = [python, "-m", "ruff"]
    told = ["llmhive/app", "verification/harness", "verification/checkers"]
    docstrings = [python, "-m", "interrogate", "-v", "--omit-covered-files", *told]
    rules = [python, "-m", "verification.selftest.house_rules", "rules"]
    formatted = [*ruff, "format", "--check", "."]
    check(session, "lint", [[*ruff, "check", "."], formatted, docstrings, rules])


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, on everything: the service in its environment, the suite in its own."""
    python = str(environment("dev", "dev"))
    load = sorted(path.name for path in (ROOT / "load").glob("*.py"))
    parts = {
        "tests": ["llmhive"],
        "suite": ["verification", "chaos", "conftest.py"]
        + [f"load/{name}" for name in load if name not in GENERATOR],
        "load": [f"load/{name}" for name in GENERATOR],
        "dev": ["noxfile.py"],
    }
    pins = {"tests": "tests", "suite": "verify", "load": "load", "dev": "dev"}
    commands = [
        [python, "-m", "mypy", "--python-executable", str(environment(name, pins[name])), *paths]
        for name, paths in parts.items()
    ]
    check(session, "types", commands)


@nox.session
def contracts(session: nox.Session) -> None:
    """The direction of imports, by import-linter."""
    check(session, "contracts", [[str(environment("dev", "dev").parent / "lint-imports")]])


@nox.session
def sizes(session: nox.Session) -> None:
    """The limits of size; prints the ten largest functions and modules, and the fan-in."""
    python = str(environment("dev", "dev"))
    check(session, "sizes", [[python, "-m", "verification.selftest.house_rules", "sizes"]])


@nox.session
def audit(session: nox.Session) -> None:
    """Bandit on our sources, pip-audit on the pins; unaudited is said to be unknown."""
    python = str(environment("dev", "dev"))
    bandit = [python, "-m", "bandit", "-q", "-ll", "-c", "pyproject.toml", "-r"]
    sources = ["llmhive", "verification", "chaos", "load"]
    advisories = [python, "-m", "verification.selftest.advisories", "requirements"]
    check(session, "audit", [[*bandit, *sources], advisories])


def put_redis_on_path(suite: str) -> None:
    """Let white-box tests find the Redis that the suite uses, for they cannot import the suite."""
    command = [suite, "-m", "verification.harness.stack.programs"]
    found = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if found.returncode:
        sys.exit(3)
    os.environ["PATH"] = f"{found.stdout.strip()}{os.pathsep}{os.environ.get('PATH', '')}"


def tested(session: nox.Session, name: str, which: str) -> tuple[Path, list[str]]:
    """Prepare what tests need; gives the reports' folder and pytest's options for `which`."""
    report = REPORTS / name
    shutil.rmtree(report, ignore_errors=True)
    report.mkdir(parents=True)
    put_redis_on_path(str(environment("suite", "verify")))
    environment("load", "load")  # the load gate's tests run real Locust
    return report, ["-m", "pytest", "-q", "-m", which, *session.posargs]


@nox.session
def tests(session: nox.Session) -> None:
    """White-box tests of the service with coverage, and beside them those of the suite itself."""
    white, suite = str(environment("tests", "tests")), str(environment("suite", "verify"))
    report, pytest = tested(session, "tests", "not end_to_end")
    coverage = [white, "-m", "coverage"]
    commands = [
        [*coverage, "erase"],
        [*coverage, "run", *pytest, *OF_SERVICE, f"--junitxml={report}/service.xml"],
        [*coverage, "combine", "-q"],
        [*coverage, "json", "-q", "-o", f"{report}/coverage.json"],
        [*coverage, "report", "--format=total"],
        [suite, *pytest, "load", f"--junitxml={report}/load.xml"],  # so that both take as long
    ]
    of_suite = [suite, *pytest, *OF_SUITE[:2], f"--junitxml={report}/suite.xml"]
    check(session, "tests", commands, beside=of_suite)


@nox.session
def selftest(session: nox.Session) -> None:
    """From end to end: the service's processes, and whole runs of the suite, some killed."""
    suite, white = str(environment("suite", "verify")), str(environment("tests", "tests"))
    report, pytest = tested(session, "selftest", "end_to_end")
    os.environ["LLMHIVE_NOX_PYTHON"] = sys.executable  # for tests that run nox
    of_suite = [suite, *pytest, *OF_SUITE, "-n2", f"--junitxml={report}/suite.xml"]
    of_service = [white, *pytest, *OF_SERVICE, f"--junitxml={report}/service.xml"]
    check(session, "selftest", [[*of_suite, "--dist=worksteal"]], beside=of_service)


def measured(wheel: Path | None, arguments: list[str]) -> Path:
    """The Python of a second service's environment, which notes what the claims reach."""
    if is_among(arguments, "--target"):
        refuse("--coverage expects a service of our own, not --target FILE")
    python = service(wheel, "covered")
    shutil.rmtree(MEASURED, ignore_errors=True)
    MEASURED.mkdir(parents=True)
    os.environ["LLMHIVE_SERVICE_PYTHON"] = str(python)
    os.environ["COVERAGE_PROCESS_START"] = str(ROOT / "pyproject.toml")
    os.environ["COVERAGE_FILE"] = str(MEASURED / ".coverage")
    return python


def report_coverage(python: Path) -> None:
    """Write what the claims reached, with what `nox -s tests` reached if that was of today."""
    coverage, by, parts = [str(python), "-m", "coverage"], "the claims alone", [str(MEASURED)]
    from_tests, session = ROOT / ".coverage", REPORTS / "sessions" / "tests.json"
    noted = json.loads(session.read_text()) if session.exists() else {}
    if from_tests.exists() and noted.get("sources") == session_sources():
        parts, by = [*parts, str(from_tests)], "the tests and the claims"
    os.environ.pop("COVERAGE_PROCESS_START")
    run([*coverage, "combine", "-q", "--keep", *parts])
    told = str(REPORTS / "verify" / "coverage.json")
    run([*coverage, "json", "-q", "--fail-under=0", "-o", told])
    total = [*coverage, "report", "--format=total", "--fail-under=0"]
    found = subprocess.run(total, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    print(f"coverage: {found.stdout.strip()} % of llmhive.app by {by}", flush=True)


@nox.session
def verify(session: nox.Session) -> None:
    """The verdict: builds, starts, judges. `-- --target F --stack S --wheel W --gate --full …`."""
    arguments = [each for each in session.posargs if each != "--coverage"]
    wheel = wheel_among(arguments)
    suite = str(environment("suite", "verify"))
    covered = measured(wheel, arguments) if "--coverage" in session.posargs else None
    if not covered and not is_among(arguments, "--target"):
        service(wheel)
    # No claim uses hypothesis or anyio, and each process would load them.
    pytest = [suite, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "-p", "no:anyio"]
    if not any(argument.startswith(("-n", "--numprocesses")) for argument in arguments):
        arguments += ["-n", "5"]  # claims wait more than they compute
    code = run([*pytest, "verification/suites", f"--reports={REPORTS / 'verify'}", *arguments])
    if covered:
        report_coverage(covered)
    end(session, code)


def attended(command: list[str]) -> int:
    """Run a command that heals what it broke when it is told to end, and wait until it has.

    It ends when this process is killed, for it watches its controller.
    """
    watched = {**os.environ, "LLMHIVE_CONTROLLER": str(os.getpid())}
    with subprocess.Popen(command, cwd=ROOT, env=watched) as child:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda told, _: child.send_signal(told))
        return child.wait()


@nox.session
def chaos(session: nox.Session) -> None:
    """Break things, say what it cost. `-- --list --plan --only NAME --target F --recheck DIR …`."""
    arguments = list(session.posargs)
    wheel = wheel_among(arguments)
    suite = str(environment("suite", "verify"))
    if not is_among(arguments, "--list", "--plan", "--recheck", "--target", "--help", "-h"):
        service(wheel)
    end(session, attended([suite, "-m", "chaos", *arguments]))


@nox.session
def load(session: nox.Session) -> None:
    """A load profile and its gate. `-- --profile P --target F --baseline R --recheck DIR …`."""
    arguments = list(session.posargs)
    wheel = wheel_among(arguments)
    suite = str(environment("suite", "verify"))
    without_generator = ("--recheck", "--list", "--help", "-h")
    if not is_among(arguments, "--target", "--compare", *without_generator):
        service(wheel)
    if not is_among(arguments, *without_generator):
        environment("load", "load")
    end(session, run([suite, "-m", "load", *arguments]))


@nox.session
def mutants(session: nox.Session) -> None:
    """Known-bad services must be caught, the healthy one must pass. `-- --from DIR --only ID`."""
    suite = str(environment("suite", "verify"))
    service()
    end(session, run([suite, "-m", "verification.harness.mutation", *session.posargs]))


@nox.session
def target(session: nox.Session) -> None:
    """Aim elsewhere: `-- init|check|plan|undo|cleanup FILE`, around a target file."""
    suite = str(environment("suite", "verify"))
    end(session, run([suite, "-m", "verification.harness.staging.command", *session.posargs]))


@nox.session
def workflow(session: nox.Session) -> None:
    """The workflows of docs/ci.md: actionlint; with `-- --run` their steps are run, too."""
    python = str(environment("dev", "dev"))
    end(session, run([python, "-m", "verification.selftest.workflow", *session.posargs]))


@nox.session
def serve(session: nox.Session) -> None:
    """The whole service on this machine: simulated providers, a printed key, `curl` lines."""
    suite = str(environment("suite", "verify"))
    service()
    end(session, run([suite, "-m", "verification.harness.desk", *session.posargs]))
