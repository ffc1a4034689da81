"""What single checks add up to."""

from __future__ import annotations

import pytest

from llmhive.app.telemetry.health import Component, HealthBoard, State, Status
from llmhive.tests.fakes import FakeClock


@pytest.fixture
def board(clock: FakeClock) -> HealthBoard:
    """A board on which all is well."""
    found = HealthBoard(clock=clock)
    found.has_provider = True
    for name in ("database", "redis", "provider:openai", "provider:anthropic"):
        found.saw(name, State.UP, believed_for_s=5.0)
    return found


@pytest.mark.parametrize(
    ("seen", "status", "is_ready"),
    [
        ({}, Status.OK, True),
        ({"redis": State.NOT_CONFIGURED}, Status.OK, True),
        ({"redis": State.DOWN}, Status.DEGRADED, True),
        ({"provider:openai": State.DOWN}, Status.DEGRADED, True),
        ({"breaker:openai": "open"}, Status.DEGRADED, True),
        ({"breaker:openai": "closed"}, Status.OK, True),
        ({"database": State.READ_ONLY}, Status.DEGRADED, False),
        ({"database": State.DOWN}, Status.UNAVAILABLE, False),
        ({"database": State.NOT_MIGRATED}, Status.UNAVAILABLE, False),
        (
            {"provider:openai": State.DOWN, "provider:anthropic": State.DOWN},
            Status.UNAVAILABLE,
            True,
        ),
    ],
)
def test_the_worst_component_decides(
    board: HealthBoard, seen: dict[str, str], status: Status, *, is_ready: bool
) -> None:
    for name, state in seen.items():
        board.saw(name, state, believed_for_s=5.0)

    assert board.status(board.components()) is status
    assert board.is_ready() is is_ready


def test_a_check_that_does_not_come_back_is_no_longer_believed(
    board: HealthBoard, clock: FakeClock
) -> None:
    clock.advance(5.1)

    redis = board.components()["redis"]
    assert redis.state == State.UNKNOWN
    assert redis.age_s == pytest.approx(5.1, abs=0.001)
    assert not board.is_ready()


def test_who_always_knows_is_asked_every_time(board: HealthBoard) -> None:
    board.add_source(lambda: [("breaker:openai", Component("open", 0.0))])

    assert board.components()["breaker:openai"].state == "open"


def test_without_a_provider_nothing_is_ready(board: HealthBoard) -> None:
    board.has_provider = False

    assert not board.is_ready()


def test_before_the_first_check_the_service_is_unavailable(clock: FakeClock) -> None:
    board = HealthBoard(clock=clock)

    assert board.status(board.components()) is Status.UNAVAILABLE
