"""What pytest sees of a claim, and which verdict that is; the exit codes that follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.selftest.plugin.inner_run import run

# A run of several processes.
SEVERAL = (pytest.mark.end_to_end, pytest.mark.timeout(120))
# One claim for each way to end; the name of each claim is the verdict that it must get.
EVERY_WAY = """
@claim("true.plain", proves=[p.PRINTED_HEALTH])
def test_health_answers(): pass

@claim("false.assert", proves=[p.APPLIED_ONCE])
def test_an_event_is_applied_once():
    assert [1, 2] == [1], "two rows"

@claim("false.group", proves=[p.DRAINS])
def test_threads_that_all_assert():
    raise ExceptionGroup("threads", [AssertionError("a"), AssertionError("b")])

@claim("unknown.group", proves=[p.DRAINS])
def test_threads_of_which_one_breaks():
    raise ExceptionGroup("threads", [AssertionError("a"), KeyError("b")])

@claim("unknown.verdict", proves=[p.PRINTED_CHAT])
def test_an_unknown_verdict():
    unknown("claim", "nothing was measured").require()

@claim("unknown.crash", proves=[p.ROLLING_WINDOW])
def test_a_crash():
    raise KeyError("x")

@pytest.fixture
def broken():
    assert 1 == 2

@claim("unknown.setup", proves=[p.ROLLING_WINDOW])
def test_a_broken_setup(broken): pass

@pytest.fixture
def leaves():
    yield
    raise RuntimeError("a fault is left")

@claim("unknown.teardown", proves=[p.ROLLING_WINDOW])
def test_a_broken_teardown(leaves): pass

@claim("false.teardown", proves=[p.ROLLING_WINDOW])
def test_false_and_a_broken_teardown(leaves):
    assert not [1]

@claim("unknown.timeout", proves=[p.DRAINS])
@pytest.mark.timeout(0.5, method="signal")
def test_a_timeout():
    import threading
    threading.Event().wait(20)

@claim("unverified.capability", proves=[p.TIERS])
def test_a_skip():
    pytest.skip("unverified: this target lacks users")

@claim("unverified.not-selected", proves=[p.TIERS], full=True)
def test_full(): pass

@claim("unknown.quarantined", proves=[p.TIERS])
@pytest.mark.xfail(strict=True, reason="issue 7")
def test_quarantined():
    assert not [1]

@claim("true.cases", proves=[p.CORS])
@pytest.mark.parametrize("case", ["one", "two/three"])
def test_cases(case): pass

@claim("false.cases", proves=[p.CORS])
@pytest.mark.parametrize("case", [1, 2])
def test_one_case_is_enough(case):
    assert case == 1
"""


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=SEVERAL)])
def test_each_way_to_end_has_its_verdict(tmp_path: Path, workers: str) -> None:
    ran = run(tmp_path, EVERY_WAY, "-n", workers, apart=True)

    wrong = {name: said for name, said in ran.verdicts.items() if name.split(".")[0] != said}
    assert (wrong, len(ran.verdicts), ran.code) == ({}, 15, 1)
    assert "fail: 1 of 130 lines verified" in ran.output


def claims(*bodies: str) -> str:
    made = [
        f'@claim("c.n{number}", proves=[p.PRINTED_HEALTH])\ndef test_{number}():\n    {body}\n'
        for number, body in enumerate(bodies)
    ]
    return "\n".join(made)


TRUE = "assert 1 == 1"
FALSE = "assert 1 == 2"
UNKNOWN = "raise KeyError"
SKIP = "pytest.skip('unverified: this target lacks x')"


@pytest.mark.parametrize(
    ("bodies", "code", "verdict"),
    [
        pytest.param((TRUE, SKIP), 0, "pass", id="pass"),
        pytest.param((TRUE, FALSE, UNKNOWN), 1, "fail", id="fail"),
        pytest.param((TRUE, UNKNOWN), 2, "unknown", id="unknown"),
        pytest.param((SKIP,), 2, "unknown", id="nothing-ran"),
    ],
)
def test_the_exit_code_is_the_runs_verdict(
    tmp_path: Path, bodies: tuple[str, ...], code: int, verdict: str
) -> None:
    ran = run(tmp_path, claims(*bodies))

    assert (ran.code, ran.readiness["verdict"]) == (code, verdict)


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=SEVERAL)])
def test_a_file_that_cannot_be_read_leaves_the_run_unknown(tmp_path: Path, workers: str) -> None:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "test_broken.py").write_text("import nothing_like_it\n")

    ran = run(tmp_path, claims(TRUE), "-n", workers, apart=workers != "0")

    assert (ran.code, ran.verdicts) == (2, {"c.n0": "true"}), ran.output
    assert ran.output.count("not collected: ") == 1
    assert "test_broken.py" in ran.output


def test_a_test_that_is_no_claim_and_fails_keeps_pytests_code(tmp_path: Path) -> None:
    ran = run(tmp_path, claims(TRUE) + "\ndef test_no_claim():\n    assert 1 == 2\n")

    assert (ran.code, ran.verdicts) == (1, {"c.n0": "true"})


@pytest.mark.end_to_end
@pytest.mark.timeout(120)
def test_a_worker_that_dies_leaves_its_claim_unknown(tmp_path: Path) -> None:
    dies = "import os; open('deaths', 'a').write('x'); os._exit(9)"
    ran = run(
        tmp_path,
        claims(TRUE, dies.replace("deaths", str(tmp_path / "deaths"))),
        "-n",
        "2",
        apart=True,
    )

    assert (ran.code, ran.verdicts) == (2, {"c.n0": "true", "c.n1": "unknown"})
    assert (tmp_path / "deaths").read_text() == "x", "it ran again"


def test_until_false_stops_at_the_first_false_claim(tmp_path: Path) -> None:
    ran = run(tmp_path, claims(FALSE, FALSE, FALSE), "--until-false")

    assert (ran.code, sorted(ran.verdicts.values())) == (1, ["false", "unknown", "unknown"])


def test_a_suite_that_breaks_while_it_judges_is_no_verdict(tmp_path: Path) -> None:
    page = tmp_path / "reports" / "report.html"

    ran = run(tmp_path, claims(f"__import__('os').mkdir({str(page)!r})"))

    assert ran.code == 3, ran.output
    assert "could not run: the suite broke while it judged" in ran.output


def test_an_id_that_two_tests_claim_is_refused(tmp_path: Path) -> None:
    ran = run(tmp_path, claims(TRUE) + claims(TRUE).replace("test_0", "test_9"))

    assert ran.code == 4, ran.output
    assert "expected each claim's id once" in ran.output
