"""Overrides as a worker follows them: from the database, with copies kept in step."""

from __future__ import annotations

import pytest

from llmhive.app.errors import CallerError, DependencyError
from llmhive.app.limits.model import LimitConfig, Tier
from llmhive.app.limits.overrides import LimitOverrides, Override
from llmhive.app.limits.service import LimitService
from llmhive.tests.fakes import FakeClock


class FakeStore:
    """An OverrideStore that can be away; only ada is a user."""

    def __init__(self) -> None:
        self.kept: dict[str, Override] = {}
        self.is_away = False

    async def standing(self, at: float) -> list[Override]:
        if self.is_away:
            raise DependencyError
        return [each for each in self.kept.values() if each.ends_at > at]

    async def put(self, override: Override) -> bool:
        if override.user == "ada":
            self.kept[override.user] = override
        return override.user == "ada"

    async def remove(self, user: str) -> bool:
        return self.kept.pop(user, None) is not None


class FakeMirror:
    """An OverrideMirror that writes down what it is told, and can be away."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, bool]] = []
        self.shown: dict[str, str] = {}
        self.is_away = False

    async def show(self, override: Override, *, lasts_s: float, replaces: bool) -> None:
        assert lasts_s > 0
        self._reach()
        self.told.append(("show", override.requests_per_min, replaces))
        self.shown[override.user] = override.revision

    async def hide(self, user: str, revision: str) -> None:
        self._reach()
        if self.shown.get(user) == revision:
            self.told.append(("hide", 0, False))
            del self.shown[user]

    async def copies(self) -> dict[str, str]:
        self._reach()
        return dict(self.shown)

    def _reach(self) -> None:
        if self.is_away:
            raise DependencyError


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def mirror() -> FakeMirror:
    return FakeMirror()


@pytest.fixture
def overrides(store: FakeStore, mirror: FakeMirror, clock: FakeClock) -> LimitOverrides:
    return LimitOverrides(store, clock=clock, window_s=30.0, mirror=mirror)


async def test_an_override_is_scaled_to_the_window(overrides: LimitOverrides) -> None:
    await overrides.put("ada", requests_per_min=25, lasts_s=60.0)
    await overrides.follow()

    assert overrides.requests_for("ada") == 12


@pytest.mark.parametrize(("per_min", "per_window"), [(0, 0), (1, 1), (3, 1), (60, 30)])
def test_whoever_is_granted_something_is_granted_one(per_min: int, per_window: int) -> None:
    assert Override("ada", per_min, 0.0, "r").per_window(30.0) == per_window


async def test_without_the_database_what_is_known_holds_until_its_end(
    overrides: LimitOverrides, store: FakeStore, clock: FakeClock
) -> None:
    await overrides.put("ada", requests_per_min=60, lasts_s=60.0)
    await overrides.follow()
    store.is_away = True

    await overrides.follow()

    assert overrides.requests_for("ada") == 30
    clock.advance(60.0)
    assert overrides.requests_for("ada") is None


async def test_what_stood_before_this_worker_fills_gaps_and_news_replace(
    overrides: LimitOverrides, mirror: FakeMirror
) -> None:
    await overrides.put("ada", requests_per_min=60, lasts_s=60.0)
    await overrides.follow()
    await overrides.put("ada", requests_per_min=90, lasts_s=60.0)
    await overrides.follow()
    await overrides.follow()
    await overrides.remove("ada")
    await overrides.follow()

    assert mirror.told == [("show", 60, False), ("show", 90, True), ("hide", 0, False)]


async def test_a_word_given_while_no_worker_ran_replaces_the_copy_of_an_older_one(
    overrides: LimitOverrides, mirror: FakeMirror
) -> None:
    mirror.shown["ada"] = "an older one"
    await overrides.put("ada", requests_per_min=60, lasts_s=60.0)

    await overrides.follow()

    assert mirror.told == [("show", 60, True)]


@pytest.mark.parametrize("is_away_at_first", [False, True])
async def test_what_was_taken_back_while_no_worker_ran_is_hidden(
    overrides: LimitOverrides, mirror: FakeMirror, *, is_away_at_first: bool
) -> None:
    mirror.shown["ada"] = "taken back"
    mirror.is_away = is_away_at_first
    await overrides.follow()
    mirror.is_away = False

    await overrides.follow()

    assert mirror.told == [("hide", 0, False)]


async def test_a_mirror_out_of_reach_is_told_later_and_the_override_holds_meanwhile(
    overrides: LimitOverrides, mirror: FakeMirror
) -> None:
    await overrides.follow()
    mirror.is_away = True
    await overrides.put("ada", requests_per_min=60, lasts_s=60.0)
    await overrides.follow()
    held = overrides.requests_for("ada")
    mirror.is_away = False

    await overrides.follow()

    assert (held, mirror.told) == (30, [("show", 60, True)])


async def test_copies_that_vanished_are_shown_again(
    overrides: LimitOverrides, mirror: FakeMirror
) -> None:
    await overrides.put("ada", requests_per_min=60, lasts_s=600.0)

    for _ in range(20):
        await overrides.follow()

    assert mirror.told == [("show", 60, False)] * 3


@pytest.mark.parametrize(
    ("user", "per_min", "lasts_s"),
    [("bob", 1, 1.0), ("ada", -1, 1.0), ("ada", 10**7, 1.0), ("ada", 1, 0.0), ("ada", 1, 1e9)],
)
async def test_what_cannot_be_granted_is_refused(
    overrides: LimitOverrides, user: str, per_min: int, lasts_s: float
) -> None:
    with pytest.raises(CallerError):
        await overrides.put(user, requests_per_min=per_min, lasts_s=lasts_s)


async def test_a_worker_alone_shares_out_what_the_operator_granted(clock: FakeClock) -> None:
    config = LimitConfig({"free": Tier(2, 1000, 50)}, workers=2)
    limiter = LimitService(config, clock=clock, overridden={"ada": 10}.get)

    asked = [await limiter.admit(user, "free", tokens=1) for user in ["ada"] * 8 + ["bob"] * 3]

    assert [sum(each.allowed for each in part) for part in (asked[:8], asked[8:])] == [5, 1]
