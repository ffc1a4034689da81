"""Profiles and the command line: what is wrong is said in one clear line, and ends 3."""

from __future__ import annotations

from pathlib import Path

import pytest

from load import __main__ as command
from load import gate, profile_file
from load.profile_file import ProfileError
from verification.contract.load import LatencyTarget, load_targets

GOOD = """
text = "a test"
seed = 1
warm_up_s = 1
request_timeout_s = 5
[rates]
chat = 2
[[stages]]
for_s = 10
[stop]
error_share = 0.5
after_requests = 10
"""


@pytest.mark.parametrize("name", profile_file.names())
def test_every_profile_that_we_ship_can_tell_something_about_every_target(name: str) -> None:
    profile = profile_file.read(name)

    told = [
        gate.outlook(target, profile.traffic, profile.warm_up_s)
        for target in load_targets().latency
    ]

    assert min(one.late_allowed if one else -1 for one in told) >= 1


@pytest.mark.parametrize("name", profile_file.names())
def test_no_profile_gives_up_a_request_before_its_target_is_missed(name: str) -> None:
    longest_s = max(target.within_s for target in load_targets().latency)

    assert profile_file.read(name).request_timeout_s > longest_s


@pytest.mark.parametrize(
    ("was", "is_now", "says"),
    [
        ("seed = 1", "sed = 1", "unknown key or table 'sed', did you mean 'seed'?"),
        ("seed = 1", "seed = 1.5", "seed: expected a whole number, got 1.5"),
        ("seed = 1", "", "seed: expected a whole number, got nothing"),
        ("chat = 2", "chats = 2", "rates: unknown key 'chats', did you mean 'chat'?"),
        ("chat = 2", "chat = -2", "rates.chat: expected 0 or more, got -2"),
        ("chat = 2", "chat = 0", "rates: expected at least one above 0"),
        ("chat = 2", "chat = true", "rates.chat: expected a number, got True"),
        ("for_s = 10", "for_s = 1", "warm_up_s: expected less than the stages' 1 s"),
        ("[[stages]]", "[stages]", "stages: expected [[stages]], got dict"),
        ("[stop]", "[stopp]", "unknown key or table 'stopp', did you mean 'stop'?"),
        ("error_share = 0.5", "error_share = 2", "stop.error_share: expected more than 0"),
        ("text", "= text", "expected a TOML file"),
    ],
)
def test_a_profile_that_cannot_be_run_says_why(
    tmp_path: Path, was: str, is_now: str, says: str
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(GOOD.replace(was, is_now, 1))

    with pytest.raises(ProfileError) as caught:
        profile_file.read(str(file))

    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--profile", "stagin"], "did you mean 'staging'?"),
        (["--profile", "/nowhere/own.toml"], "expected one of ci, soak, spike, staging"),
        (["--kinds", "chats"], "unknown kind 'chats', did you mean 'chat'?"),
        (["--times", "many"], "expected more than 0, at most 1000, got 'many'"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--processes", "0"], "expected 1 to 1000, got '0'"),
        (["--recheck", "/nowhere"], "expected what a load run kept"),
        (["--target", "/nowhere.toml"], "expected a TOML file"),
        (["--baseline", "/nowhere.json"], "expected a results.json of load"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_3_with_one_clear_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = command.main(arguments)
    except SystemExit as exit_now:
        code = exit_now.code

    said = capsys.readouterr().err
    assert code == 3
    assert said.startswith("could not run: ")
    assert (said.count("\n"), says in said) == (1, True)


def test_the_profiles_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code = command.main(["--list"])

    assert code == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {
        "ci",
        "soak",
        "spike",
        "staging",
    }


def test_a_profile_can_be_narrowed_and_scaled() -> None:
    found = profile_file.read("ci").only(["chat", "health"]).scaled(2.5)

    assert found.traffic.rates == {"chat": 20.0, "health": 20.0}


def test_targets_are_those_of_the_checklist_and_the_design() -> None:
    targets = load_targets()
    chat = next(one for one in targets.latency if one.id == "chat.answered")

    assert isinstance(chat, LatencyTarget)
    assert (chat.within_s, chat.share_late_max) == (30.0, 0.01)
    assert targets.errors[0].share_failed_max == 0.05
