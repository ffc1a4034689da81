"""Verdicts: the worst wins, unknown is no pass, a crash is unknown."""

from __future__ import annotations

import itertools

import pytest

from verification.history import History, Operation, Outcome
from verification.verdict import UnknownVerdict, Verdict, holds, judged, unknown

TRUE = Verdict(True, "a", {"seen": 1})
FALSE = Verdict(False, "b", {"seen": 2}, "first", "worst")
UNKNOWN = Verdict(None, "c", {}, "nothing was measured")


def test_the_worst_of_two_verdicts_wins_whichever_comes_first() -> None:
    pairs = itertools.product((TRUE, FALSE, UNKNOWN), repeat=2)

    joined = {(one.word, other.word): (one & other).word for one, other in pairs}

    assert joined == {
        ("true", "true"): "true",
        ("true", "false"): "false",
        ("true", "unknown"): "unknown",
        ("false", "true"): "false",
        ("false", "false"): "false",
        ("false", "unknown"): "false",
        ("unknown", "true"): "unknown",
        ("unknown", "false"): "false",
        ("unknown", "unknown"): "unknown",
    }


def test_verdicts_on_one_claim_add_their_counts() -> None:
    assert (holds("a", seen=1) & holds("a", seen=2)).counts == {"seen": 3}


def test_a_false_verdict_asserts_with_its_witness() -> None:
    operation = Operation(7, "p", "chat", {"user": "u1"}, Outcome.OK, 1.0, 2.0)

    with pytest.raises(AssertionError, match=r"#7 p chat ok \[1.000\.\.2.000 s\] user=u1"):
        Verdict(False, "claim", {}, "first", None, (operation,)).require()


def test_an_unknown_verdict_is_raised_as_such_and_says_why() -> None:
    with pytest.raises(UnknownVerdict, match="unknown: c: nothing was measured"):
        UNKNOWN.require()


def test_a_true_verdict_is_required_in_silence() -> None:
    TRUE.require()

    assert str(TRUE) == "true: a (1 seen)"


def test_a_verdict_refuses_to_be_taken_for_a_boolean() -> None:
    with pytest.raises(TypeError, match="three values"):
        bool(TRUE)


def test_a_checker_that_crashes_is_unknown() -> None:
    def crash(history: History) -> Verdict:
        raise KeyError(len(history))

    verdict = judged("claim", crash, History())

    assert (verdict.valid, "KeyError: 0" in str(verdict)) == (None, True)


def test_unknown_keeps_what_was_counted() -> None:
    assert unknown("claim", "why", seen=3).counts == {"seen": 3}
