"""Removes what runs made on a target elsewhere, by their tags, and shows that nothing is left.

What is removed goes through the target's admin API, and is not held back by a budget. Without
an admin key nothing was made there: users were lent, and what happened to them stays theirs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from verification.contract import http as contract
from verification.harness.http_client import Http

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from verification.harness.target_file import TargetFile

# What the tag of every run begins with; nothing else is ever removed.
TAG: Final = "vfy-"
FINE: Final = 200


@dataclass(slots=True)
class Removal:
    """What was removed of which runs, and what is left of them."""

    users: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    redis_keys: int | None = 0
    left: dict[str, int] = field(default_factory=dict)
    """Tag -> users that are still there."""
    problems: list[str] = field(default_factory=list)

    @property
    def is_proved(self) -> bool:
        """The target was asked afterwards, and has nothing of these runs."""
        return not self.left and not self.problems

    def lines(self) -> Iterator[str]:
        """What to tell people."""
        if self.users:
            rows = ", ".join(f"{count} {name}" for name, count in sorted(self.rows.items()))
            keys = "out of reach" if self.redis_keys is None else self.redis_keys
            yield f"removed {self.users} users ({rows}; keys in Redis: {keys})"
        yield from self.problems
        for tag, count in self.left.items():
            yield f"left of run {tag}: {count} users"
        if self.is_proved:
            yield "the target was asked: nothing is left"


def remove(target: TargetFile, runs: Iterable[str] = (TAG,)) -> Removal:
    """Remove everything whose tag begins with one of these, then ask what is left of it.

    Takes: the tags of runs, whose claims may have made tags of their own from them; every run's
    if none is named.
    """
    done = Removal()
    admin_key = target.secrets.get("admin_key")
    if admin_key is None:
        done.problems.append("no admin key: users were lent, and what they have stays theirs")
        return done
    http = Http(target.base_url, trust_env=True)
    for run in dict.fromkeys(runs):
        for tag in _tags(http, admin_key, run, done):
            _remove_tag(http, admin_key, tag, done)
        done.left |= _tags(http, admin_key, run, done)
    http.close()
    return done


def _remove_tag(http: Http, admin_key: str, tag: str, done: Removal) -> None:
    left = 1
    while left:
        route = contract.ADMIN_USERS_DELETE
        answer = http.delete(route.path, params={"tag": tag}, key=admin_key)
        told = answer.json()
        if answer.status != FINE or not isinstance(told, dict):
            done.problems.append(f"users of {tag} could not be removed: {answer.status or answer}")
            return
        done.users += int(told["deleted"])
        done.rows.update(told["rows"])
        out_of_reach = done.redis_keys is None or told["redis_keys"] is None
        done.redis_keys = None if out_of_reach else done.redis_keys + told["redis_keys"]
        left = int(told["left"]) if told["deleted"] else 0


def _tags(http: Http, admin_key: str, prefix: str, done: Removal) -> dict[str, int]:
    """Tag -> how many users have it, of those that begin so."""
    answer = http.get(contract.ADMIN_TAGS.path, params={"prefix": prefix}, key=admin_key)
    told: Any = answer.json()
    if answer.status != FINE or not isinstance(told, dict):
        done.problems.append(f"the target does not say what is left: {answer.status or answer}")
        return {}
    return {str(row["tag"]): int(row["users"]) for row in told["tags"]}
