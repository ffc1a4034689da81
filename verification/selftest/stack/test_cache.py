"""The live stack is kept while its configuration is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from verification.harness.stack.cache import StackCache
from verification.harness.stack.configuration import configuration

if TYPE_CHECKING:
    from verification.harness.stack.configuration import Configuration
    from verification.harness.stack.local import LiveStack

A, B = configuration({"N": "a"}), configuration({"N": "b"})


@dataclass
class PaperStack:
    """A stack that runs nothing."""

    wanted: Configuration
    is_usable: bool = True
    claims: int = 0

    def begin_claim(self) -> None:
        self.claims += 1


@dataclass
class PaperBuilder:
    """Builds stacks that run nothing, and remembers which it ended."""

    ended: list[Configuration] = field(default_factory=list)
    is_closed: bool = False

    def build(self, wanted: Configuration) -> LiveStack:
        return cast("LiveStack", PaperStack(wanted))

    def end(self, live: LiveStack) -> None:
        self.ended.append(cast("PaperStack", live).wanted)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def builder() -> PaperBuilder:
    """A builder that has built nothing yet."""
    return PaperBuilder()


def test_the_same_configuration_gets_the_same_stack(builder: PaperBuilder) -> None:
    cache = StackCache(builder)

    first, second = cache.lend(A), cache.lend(configuration({"N": "a"}))

    assert first is second
    assert cast("PaperStack", first).claims == 2


def test_a_stack_is_ended_when_another_is_wanted(builder: PaperBuilder) -> None:
    cache = StackCache(builder)

    for wanted in (A, B, B, A):
        cache.lend(wanted)

    assert builder.ended == [A, B]


def test_an_unusable_stack_is_ended_and_built_anew(builder: PaperBuilder) -> None:
    cache = StackCache(builder)
    first = cast("PaperStack", cache.lend(A))

    first.is_usable = False

    assert cast("PaperStack", cache.lend(A)) is not first
    assert builder.ended == [A]


def test_closing_ends_everything(builder: PaperBuilder) -> None:
    cache = StackCache(builder)
    cache.lend(A)

    cache.close()

    assert (builder.ended, builder.is_closed) == ([A], True)


def test_a_configuration_is_told_by_its_content() -> None:
    assert configuration({"A": "1", "B": "2"}).id == configuration({"B": "2", "A": "1"}).id
    assert len({configuration().id, configuration(workers=2).id, A.id, B.id}) == 4
