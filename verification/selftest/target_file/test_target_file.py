"""Target files: everything wrong is said at once, and no secret is ever written down."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from verification.harness import target_file
from verification.harness.target_file import TargetFileError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
[target]
base_url = "http://127.0.0.1:1"
environment = "staging"
instance = "staging-1"
capabilities = ["users", "metrics"]
[limits]
hosts = ["127.0.0.1"]
requests = 10
tokens = 100
[secrets]
metrics_token = "env:VFY_TOKEN"
[[users]]
id = "one"
tier = "free"
key = "env:VFY_KEY"
"""

# What is changed in the good file, into what, and what must be said of it.
WRONG = {
    "a misspelt key": ("instance =", "instanse =", "did you mean 'instance'"),
    "a misspelt table": ("[limits]", "[limit]", "did you mean 'limits'"),
    "a misspelt capability": ('"metrics"]', '"metric"]', "did you mean 'metrics'"),
    "a misspelt tier": ('"free"', '"fre"', "did you mean 'free'"),
    "a capability that only our own stacks have": ('"metrics"]', '"faults"]', "'faults'"),
    "a missing key": ('environment = "staging"', "", "target.environment: expected str"),
    "a wrong type": ("requests = 10", 'requests = "10"', "limits.requests: expected int, got str"),
    "no budget": ("requests = 10", "requests = 0", "more than 0"),
    "a host that may not be touched": ('["127.0.0.1"]', '["elsewhere"]', "not among limits.hosts"),
    "a url with a password": ("//127", "//u:p@127", "without user"),
    "no url": ('"http://127.0.0.1:1"', '"staging"', "expected http"),
    "users that are not there": ("[[users]]", "[secrets.more]", "unknown key 'more'"),
    "a literal secret": ('"env:VFY_KEY"', '"sk-literal"', "got a literal secret"),
    "a reference to nothing": ('"env:VFY_KEY"', '"env:VFY_NOTHING"', "cannot be read"),
    "a live Stripe key": ('"env:VFY_KEY"', '"env:VFY_LIVE"', "live Stripe key"),
    "an empty secret": ('"env:VFY_KEY"', '"env:VFY_EMPTY"', "is empty"),
    "a line that is not there": ('"env:VFY_KEY"', '"file:/dev/null#X"', "cannot be read"),
    "money without a price": ("tokens = 100", "tokens = 100\nmoney = 1.5", "prices.per_1k_tokens"),
    "a budget without end": ("tokens = 100", "tokens = 100\nmoney = inf", "0 or more, got inf"),
    "no tokens": ("tokens = 100", "", "limits.tokens: expected int, got nothing"),
    "truth for a number": ("tokens = 100", "tokens = true", "expected int, got bool"),
    "a port that is none": ("127.0.0.1:1", "127.0.0.1:x", "expected http"),
    "a Redis of somebody else": (
        'metrics_token = "env:VFY_TOKEN"',
        'redis_url = "env:VFY_REDIS"',
        "redis.example is not among limits.hosts",
    ),
    "an admin without a key": ('"metrics"]', '"admin"]', "'admin' needs secrets.admin_key"),
    "no TOML": ("[target]", "[target", "expected a TOML file"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A target file that is in order."""
    found = tmp_path / "target.toml"
    found.write_text(GOOD)
    return found


def test_a_good_file_names_its_target(file: Path) -> None:
    target = target_file.read(file)

    assert (target.instance, target.budget.requests, target.workers) == ("staging-1", 10, 1)
    assert [(user.id, user.key) for user in target.users] == [("one", "the-key")]
    assert "the-key" not in repr(target)


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_without_the_secret(case: str, file: Path) -> None:
    old, new, said = WRONG[case]
    file.write_text(GOOD.replace(old, new, 1))

    with pytest.raises(TargetFileError, match=re.escape(said)) as refusal:
        target_file.read(file)

    assert not re.search("sk-literal|sk_live_abcdef|the-token", str(refusal.value))


def test_all_problems_are_said_at_once(file: Path) -> None:
    file.write_text(
        GOOD.replace("instance =", "instanse =").replace("requests = 10", "request = 1")
    )

    with pytest.raises(TargetFileError) as refusal:
        target_file.read(file)

    assert len(refusal.value.problems) == 4


def test_a_secret_can_stand_in_a_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    file.write_text(GOOD.replace("env:VFY_KEY", f"file:{tmp_path / 'secret'}"))

    assert target_file.read(file).users[0].key == "from-a-file"


def test_a_secret_can_stand_in_a_line_of_a_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("OTHER=not this\nMINE=from=a-line\n")
    file.write_text(GOOD.replace("env:VFY_KEY", f"file:{tmp_path / 'secrets'}#MINE"))

    assert target_file.read(file).users[0].key == "from=a-line"
