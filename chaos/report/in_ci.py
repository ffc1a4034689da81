"""What a campaign tells CI: a summary in Markdown, and a remark for each red experiment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chaos.conclusion import Answer, Conclusion
from chaos.judgement import Word
from verification.harness.github import Annotation

SIGNS: Final = {Answer.GO: "✅", Answer.NO_GO: "❌", Answer.UNKNOWN: "❔"}
WHERE: Final = "chaos/experiments"


def summary(conclusion: Conclusion) -> str:
    """The line of the end, and a row for each experiment that does not hold."""
    return "\n".join(_lines(conclusion)) + "\n"


def _lines(conclusion: Conclusion) -> Iterator[str]:
    yield f"## {SIGNS[conclusion.answer]} chaos: {conclusion.line}"
    yield ""
    others = [one for one in conclusion.results if one.word is not Word.TRUE]
    if not others:
        return
    yield "| Experiment | | Why |"
    yield "|---|---|---|"
    for one in others:
        yield f"| `{one.name}`: {_cell(one.claim)} | {one.word} | {_cell(_first(one.why))} |"
    yield ""


def remarks(conclusion: Conclusion) -> list[Annotation]:
    """An error for each false experiment, a warning for each that is unknown."""
    return [
        Annotation(
            level="error" if one.word is Word.FALSE else "warning",
            title=f"{one.name}: {one.claim}",
            message=f"{one.word}: {_first(one.why)}\nnox -s chaos -- --only {one.name}",
            file=f"{WHERE}/{one.name}.py",
            line=1,
        )
        for one in conclusion.results
        if one.word in {Word.FALSE, Word.UNKNOWN}
    ]


def _first(text: str) -> str:
    return text.split("\n", 1)[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
