"""What the controller of a verification does, and what each of xdist's workers tells it.

The controller chooses the stack once, gathers what became of the claims, and at the end
judges, writes the reports and sets the exit code: 0 pass, 1 fail, 2 unknown; pytest's own
codes for what could not run stay as they are.
"""

from __future__ import annotations

import difflib
import shutil
import tempfile
import traceback
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from verification.contract import checklist
from verification.harness import artefact, conclusion, target_file
from verification.harness.claim_results import ClaimResults
from verification.harness.claim_verdict import ClaimVerdict
from verification.harness.conclusion import Conclusion
from verification.harness.processes import keeper
from verification.harness.readiness import (
    Declarations,
    ReadinessFileError,
    RunVerdict,
    read_declarations,
)
from verification.harness.run_options import RUN, WORKER_INPUT, Run
from verification.harness.stack import choice
from verification.harness.stack.model import StackError
from verification.harness.stack.programs import ROOT
from verification.harness.staging.session import RemoteRun, remote_run

RESULTS: Final = pytest.StashKey[ClaimResults]()
# In a worker's output: what it knows of the claims, those it did not run included.
KNOWN: Final = "llmhive_claims"
# In a worker's input: whether units stay together. Workers read the command line themselves and
# would not see what was settled after it.
GROUPED: Final = "llmhive_grouped"
# Nothing could be run: no stack, no target file, no declarations that can be read.
COULD_NOT_RUN: Final = 3
# Codes that say that pytest itself could not run, or had nothing to run.
KEPT: Final = frozenset(
    {
        pytest.ExitCode.INTERNAL_ERROR,
        pytest.ExitCode.USAGE_ERROR,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    }
)

# Codes of a run that ended before it could know which claims there are.
NOT_BEGUN: Final = KEPT - {pytest.ExitCode.NO_TESTS_COLLECTED} | {pytest.ExitCode.INTERRUPTED}


def emptied(reports: Path) -> None:
    """An empty folder for reports; what an earlier run left in it is gone.

    Raises: UsageError for a folder that holds the project, or the place where we are.
    """
    if any(place.is_relative_to(reports.resolve()) for place in (ROOT, Path.cwd())):
        raise pytest.UsageError(
            f"--reports expects a folder of its own, which is emptied; {reports} holds the project"
        )
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)


def shared_folder() -> Path:
    """A folder for the workers of this run, removed when the run has ended, however it ended."""
    folder = Path(tempfile.mkdtemp(prefix="llmhive-vfy-"))
    keeper().remove_at_end(folder)
    return folder


class Worker:
    """One of xdist's workers: it names units by their groups and at its end says what it knows."""

    def __init__(self, config: Any) -> None:
        self._config = config
        config.option.loadgroup = config.workerinput[GROUPED]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Tell the controller of the claims that this worker collected."""
        self._config.workeroutput[KNOWN] = self._config.stash[RESULTS].to_json()


class Controller:
    """The process that judges; without xdist it also runs the claims."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._run: Run = config.stash[RUN]
        self._results: ClaimResults = config.stash[RESULTS]
        self._others_failed = 0
        self._uncollected: list[str] = []
        self._refused: list[str] = []
        self._conclusion: Conclusion | None = None
        self._declared = Declarations()
        self._aim: dict[str, Any] = {"kind": "local"}
        self._judged = ""
        self._remote: RemoteRun | None = None
        self._ending = ExitStack()
        if not config.option.collectonly:
            emptied(self._run.reports)
        # One file that cannot be read makes the run unknown; the others are judged all the same.
        config.option.continue_on_collection_errors = True
        self._keep_configurations_together()

    def _keep_configurations_together(self) -> None:
        option = self._config.option
        if self._run.keep:
            # A kept stack belongs to one process, which holds it and asks on its terminal.
            option.dist, option.tx, self._run.workers = "no", [], 1
        elif getattr(option, "dist", "no") in {"load", "loadgroup"}:
            # One by one, each worker would start every stack; ours is the order of units.
            option.dist, option.loadscopereorder = "loadgroup", False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Read the declarations and choose the stack; without them nothing can be run."""
        self._run.seed = self._config.getoption("randomly_seed", None)
        if self._config.option.collectonly:
            return
        try:
            self._declared = read_declarations(ROOT / "readiness.toml", checklist.items())
            if self._run.target:
                self._open(Path(self._run.target))
            else:
                self._judged = artefact.told()
                chosen = choice.settle(self._run.stack)
                self._run.stack, self._run.versions = chosen.kind, chosen.versions
                self._config.option.stack = chosen.kind
                self._run.shared = shared_folder()
        except (StackError, ReadinessFileError, target_file.TargetFileError) as error:
            pytest.exit(f"could not run: {error}", returncode=COULD_NOT_RUN)
        if self._config.get_verbosity() < 0:
            # Quiet pytest prints no header, but what is judged is no noise.
            reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
            reporter.write_line("\n".join(self.pytest_report_header()))

    def _open(self, file: Path) -> None:
        """Begin a run against a target elsewhere; it ends when pytest does."""
        ending = ExitStack()
        self._remote = ending.enter_context(remote_run(file, kind="verify"))
        self._config.add_cleanup(self._close_remote)
        self._ending = ending
        named, seen = self._remote.target, self._remote.sighting
        self._aim = {
            "kind": "remote",
            "base_url": named.base_url,
            "environment": named.environment,
            "instance": named.instance,
            "seen": seen.seen.value,
            "version": seen.version,
        }

    def _close_remote(self) -> None:
        """Remove what was made elsewhere and give the lease back, once."""
        ending, self._ending = self._ending, ExitStack()
        ending.close()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> object | None:
        """Keep xdist from running a claim again because its process died."""
        if config.option.dist != "loadgroup":
            return None
        from verification.harness.each_once import EachOnce  # noqa: PLC0415  xdist is optional

        return EachOnce(config, log)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker what was settled for the whole run."""
        node.workerinput[WORKER_INPUT] = self._run.for_workers()
        node.workerinput[GROUPED] = self._config.option.dist == "loadgroup"

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear from a worker that ends which claims there are."""
        if known := getattr(node, "workeroutput", {}).get(KNOWN):
            self._results.learn(known)

    def pytest_report_header(self) -> list[str]:
        """What is judged, and on which stack, with versions."""
        versions = ", ".join(f"{name} {value}" for name, value in self._run.versions.items())
        aim = f" {self._run.target}" if self._run.target else ""
        stack = f"stack: {self._run.stack}{aim}" + (f" ({versions})" if versions else "")
        return [*([f"judged: {self._judged}"] if self._judged else []), stack]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file of claims that cannot be read leaves the run unknown."""
        if report.failed:
            self._uncollected.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what a report says of a claim; stop at the first false one when asked to."""
        said = self._results.hear(report)
        if said is None and report.failed and not self._results.knows(report.nodeid):
            self._others_failed += 1
        if said is ClaimVerdict.FALSE and self._run.until_false:
            self._stop("a claim is false, and --until-false was given")
        if self._remote is not None and (reason := self._remote.ended):
            self._stop(reason)

    def _stop(self, reason: str) -> None:
        for name in ("session", "dsession"):
            if session := self._config.pluginmanager.get_plugin(name):
                session.shouldstop = reason

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge, write the reports, set the exit code."""
        if self._config.option.collectonly:
            return
        if exitstatus not in NOT_BEGUN and self._refuses(exitstatus):
            none = pytest.ExitCode.NO_TESTS_COLLECTED
            session.exitstatus = none if exitstatus == none else pytest.ExitCode.USAGE_ERROR
            return
        if exitstatus in KEPT or not len(self._results):
            return
        try:
            self._conclusion = self._conclude()
        except Exception:  # noqa: BLE001  a suite that breaks is no verdict on the service
            note = self._run.reports / "could-not-conclude.txt"
            note.write_text(traceback.format_exc(), "utf-8")
            self._refused.append(f"the suite broke while it judged: {note}")
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            return
        code = self._conclusion.verdict.exit_code
        session.exitstatus = RunVerdict.FAIL.exit_code if self._others_failed else code

    def _conclude(self) -> Conclusion:
        return conclusion.conclude(
            self._run,
            self._results.results(),
            self._declared,
            aim=self._aim,
            uncollected=self._uncollected,
        )

    def _refuses(self, exitstatus: int) -> bool:
        """Note why nothing could be judged of what was asked for, if so."""
        known = self._results.ids()
        for name in sorted(set(self._run.claims) - known):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self._refused.append(f"--claim expects the id of a claim, got {name}{hint}")
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and not self._refused:
            asked = self._run.narrowed or "the run"
            self._refused.append(
                f"{asked} selects none of {len(known)} claims; "
                "`--collect-only -q` lists their tests, -k takes words of their names"
            )
        return bool(self._refused)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Generator[None, None, None]:
        """Say, last of all, what was not verified and how to see each false claim again."""
        if not self._others_failed and not self._uncollected:
            self._leave_out_what_the_conclusion_says(terminalreporter)
        yield
        for line in self._refused:
            terminalreporter.write_line(f"could not run: {line}", red=True)
        for line in self._uncollected:
            terminalreporter.write_line(f"not collected: {line}", red=True)
        if self._remote is not None:
            self._say_remote(terminalreporter, self._remote)
        if self._conclusion is not None:
            self._conclusion.say(terminalreporter)

    def _leave_out_what_the_conclusion_says(self, terminal: Any) -> None:
        """Print no traceback and no list of skips: evidence has the one, our lines the other.

        Whoever wants them from pytest as well says `--tb` or `-r`.
        """
        given = [str(word) for word in self._config.invocation_params.args]
        if not any(word.startswith("--tb") for word in given):
            self._config.option.tbstyle = "no"
        if not any(word.startswith("-r") for word in given):
            terminal.reportchars = ""

    def _say_remote(self, terminal: Any, run: RemoteRun) -> None:
        self._close_remote()
        for line in (f"used: {run.told()}", *run.farewell):
            terminal.write_line(f"{run.target.base_url}: {line}")
        if run.ended:
            terminal.write_line(f"the run had to end: {run.ended}", red=True)
