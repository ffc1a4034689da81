"""Each house rule has a sample that it must let pass and one that it must find."""

from __future__ import annotations

import pytest

from verification.selftest import house_rules

PASSING = {
    "tolerance": "def test_a(): assert x == approx(2.0, abs=0.05)\n",
    "key": '"""llmhive:ratelimit: is spoken of."""\nkey = window_key(user)\n',
    "require": "def test_a(): Claim()(history).require()\n",
    "raises": "def test_a():\n    with pytest.raises(ValueError): f()\n",
    "observed": "def test_a(): assert answer.status == 200\n",
}
FAILING = {
    "relative": "def test_a(): assert x == approx(2.0, rel=0.1)\n",
    "positional": "def test_a(): assert x == pytest.approx(2.0, 0.1)\n",
    "bare": "def test_a(): assert x == approx(2.0)\n",
    "key": 'key = "llmhive:circuit:openai"\n',
    "silent": "def test_a(): f()\n",
    "constant": "def test_a(): assert True\n",
}


def findings(text: str) -> list[str]:
    module = house_rules.parse("verification/suites/test_sample.py", text)
    return [str(finding) for rule in house_rules.RULES for finding in rule(module)]


@pytest.mark.parametrize("sample", PASSING)
def test_a_sample_that_keeps_the_rules_passes(sample: str) -> None:
    assert findings(PASSING[sample]) == []


@pytest.mark.parametrize("sample", FAILING)
def test_a_sample_that_breaks_a_rule_is_found(sample: str) -> None:
    assert len(findings(FAILING[sample])) == 1


@pytest.mark.parametrize(
    ("path", "lines", "found"),
    [
        ("llmhive/app/api/chat.py", 50, 0),
        ("llmhive/app/api/chat.py", 51, 1),
        ("verification/suites/test_chat.py", 30, 0),
        ("verification/suites/test_chat.py", 31, 1),
    ],
)
def test_a_function_over_its_limit_is_found(path: str, lines: int, found: int) -> None:
    text = "def test_a():\n" + "    x = 1\n" * lines

    sizes = list(house_rules.within_sizes(house_rules.parse(path, text)))

    assert len(sizes) == found


def test_an_experiment_of_more_than_80_lines_is_found() -> None:
    module = house_rules.parse("chaos/experiments/it_holds.py", "x = 1\n" * 81)

    sizes = list(house_rules.within_sizes(module))

    assert [finding.message for finding in sizes] == ["81 lines, at most 80 expected"]


def test_a_module_of_more_than_400_lines_is_found() -> None:
    sizes = list(house_rules.within_sizes(house_rules.parse("a.py", "x = 1\n" * 401)))

    assert [finding.message for finding in sizes] == ["401 lines, at most 400 expected"]
