"""The script: rules in order; the first live one that matches a call answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from verification.simulators.reply import Reply, ScriptError, parse_reply

RULE_FIELDS: Final = frozenset({"match", "times", "reply"})
MATCH_FIELDS: Final = frozenset({"contains", "key", "path"})
# A claim has a handful; more is a loop that went wild.
RULES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Traits:
    """What of a call a rule may look at; `texts` is everything that may contain something."""

    path: str
    key: str | None
    texts: tuple[str, ...]


@dataclass(slots=True)
class Rule:
    """Answers the next `left` calls (None: all) that match."""

    number: int
    reply: Reply
    left: int | None
    contains: str | None = None
    key: str | None = None
    path: str | None = None

    def matches(self, traits: Traits) -> bool:
        """Whether everything that it asks for is so."""
        return (
            (self.path is None or self.path == traits.path)
            and (self.key is None or self.key == traits.key)
            and (self.contains is None or any(self.contains in text for text in traits.texts))
        )


class Rules:
    """Rules in the order in which they were appended. Numbers are never given twice."""

    def __init__(self, known_fields: frozenset[str]) -> None:
        self._known_fields = known_fields
        self._rules: list[Rule] = []
        self._next = 0

    def __bool__(self) -> bool:
        return bool(self._rules)

    def append(self, told: object) -> list[int]:
        """Append rules, all or none, and give their numbers.

        Raises: ScriptError with what was expected and what came.
        """
        if not isinstance(told, list):
            raise ScriptError(f"rules: expected a list, got {told!r}")
        if len(self._rules) + len(told) > RULES_MAX:
            raise ScriptError(f"rules: expected at most {RULES_MAX} live ones")
        rules = [
            self._parsed(one, number, f"rules[{place}]")
            for place, (number, one) in enumerate(enumerate(told, self._next))
        ]
        self._rules += rules
        self._next += len(rules)
        return [rule.number for rule in rules]

    def forget(self) -> None:
        """Forget all rules: healthy again."""
        self._rules.clear()

    def take(self, traits: Traits) -> Rule | None:
        """The rule that answers this call, used up by one."""
        for rule in self._rules:
            if not rule.matches(traits):
                continue
            if rule.left is not None:
                rule.left -= 1
                if not rule.left:
                    self._rules.remove(rule)
            return rule
        return None

    def _parsed(self, told: object, number: int, where: str) -> Rule:
        try:
            rule = _fields(told, "rule", RULE_FIELDS)
            match = _fields(rule.get("match") or {}, "match", MATCH_FIELDS)
            texts = {name: _text(value, f"match.{name}") for name, value in match.items()}
            times = rule.get("times")
            if times is not None and (type(times) is not int or times < 1):
                raise ScriptError(f"times: expected a whole number from 1 or null, got {times!r}")
            reply = parse_reply(rule.get("reply", {}), known=self._known_fields)
        except ScriptError as error:
            raise ScriptError(f"{where}: {error}") from error
        return Rule(number, reply, times, **texts)


def _fields(told: object, what: str, known: frozenset[str]) -> dict[str, object]:
    if not isinstance(told, dict):
        raise ScriptError(f"{what}: expected an object, got {told!r}")
    for name in told:
        if name not in known:
            raise ScriptError(
                f"{what}: unknown field {name!r}, expected {', '.join(sorted(known))}"
            )
    return told


def _text(told: object, where: str) -> str:
    if not isinstance(told, str):
        raise ScriptError(f"{where}: expected a text, got {told!r}")
    return told
