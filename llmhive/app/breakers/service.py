"""The breakers of all providers: leave before an attempt, a report after it.

Closed breakers cost no await: a worker decides by what it knows, and a follower keeps that
fresh. Only a probe asks the shared state before it starts. Losing the shared state leaves
local breakers.
May not import adapters. Source: DESIGN.md, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmhive.app.breakers import model
from llmhive.app.breakers.breaker import Breaker, BreakerView, Hold
from llmhive.app.breakers.model import BreakerConfig, CallOutcome, CircuitState, Forced
from llmhive.app.breakers.permit import BreakerOpenError, Permit
from llmhive.app.breakers.ports import BreakerObserver, CircuitStore
from llmhive.app.breakers.sharing import SharedBreakers
from llmhive.app.clock import Clock
from llmhive.app.errors import InvariantError

__all__ = ["BreakerOpenError", "BreakerService", "BreakerView", "Permit"]

# A probe's slot is asked for again when the record turned out to be another one; after three
# records in a row the breaker is plainly moving, and the caller is better off elsewhere.
LEASE_TRIES = 3
# A slot may come free at any time; a second is the shortest wait that HTTP can express.
BUSY_WAIT_S = 1.0
# The longest rest: a month, the longest period of any provider's quota.
COOL_DOWN_MAX_S = 31 * 86_400.0


class BreakerService:
    """Every breaker of this worker, by name; names come from configuration only.

    What callers report: connect, DNS, TLS, reset, time-out, 408, 5xx, 529 and a stream
    without its terminal event are failures; 400, 401, 403, 404, 413, 422, blocks by
    moderation and the caller leaving are neutral; 429 is a cool-down.
    """

    def __init__(
        self,
        names: Mapping[str, Sequence[str]],
        config: BreakerConfig,
        *,
        clock: Clock,
        observer: BreakerObserver,
        store: CircuitStore | None = None,
    ) -> None:
        """Build one breaker per name and one parent per provider.

        Takes: names, the breakers of each provider: {"openai": ["openai:gpt-4o:0"]};
        store, where workers share their records: without it, every worker is for itself.
        """
        self._config = config
        self._clock = clock
        self._observer = observer
        children = [name for children in names.values() for name in children]
        self._shared = SharedBreakers(
            [*names, *children], config, clock=clock, observer=observer, store=store
        )
        self._is_fleet = store is not None
        breakers = self._shared.by_name
        self._pairs = {
            (provider, name): (breakers[name], breakers[provider])
            for provider, children in names.items()
            for name in children
        }

    # -- before an attempt

    async def acquire(
        self, provider: str, name: str, *, attempt_timeout_s: float | None = None
    ) -> Permit:
        """Give leave for one attempt, at once while the breaker and its parent are closed.

        Takes: attempt_timeout_s, when the attempt's own time-out is not the usual one
        (streams); a probe's lease is a second longer.
        Raises: BreakerOpenError (definite), with the time to wait; InvariantError for a
        name that is not configured.
        """
        try:
            child, parent = self._pairs[provider, name]
        except KeyError:
            known = ", ".join(sorted(breaker for _, breaker in self._pairs))
            raise InvariantError(f"No breaker {name} of {provider}; known: {known}.") from None
        if child.is_clear and parent.is_clear:
            return Permit(self, child.hold, parent.hold)
        lease_s = self._config.lease_s if attempt_timeout_s is None else attempt_timeout_s + 1.0
        try:
            return await self._acquire_guarded(child, parent, lease_s)
        except BreakerOpenError:
            self._observer.call_counted(child.name, CallOutcome.REJECTED)
            raise

    async def _acquire_guarded(self, child: Breaker, parent: Breaker, lease_s: float) -> Permit:
        self._refuse_closed_door(child, parent)
        parent_hold = await self._enter(parent, lease_s)
        try:
            child_hold = await self._enter(child, lease_s)
        except BaseException:
            self.released(parent_hold)
            raise
        return Permit(self, child_hold, parent_hold)

    def _refuse_closed_door(self, *breakers: Breaker) -> None:
        now = self._clock.monotonic()
        wait_s, breaker = max(((b.wait_s(now), b) for b in breakers), key=lambda pair: pair[0])
        if wait_s > 0:
            is_resting = breaker.record.cool_until > now
            reason = "cooling_down" if is_resting else breaker.record.reason or "open"
            raise BreakerOpenError(breaker.name, wait_s, reason)

    async def _enter(self, breaker: Breaker, lease_s: float) -> Hold:
        for _ in range(LEASE_TRIES):
            self._refuse_closed_door(breaker)
            if model.phase(breaker.record, self._clock.monotonic()) is CircuitState.CLOSED:
                return breaker.hold
            hold = self._shared.new_hold(breaker)
            was_shared = self._shared.is_shared
            is_granted = await self._shared.lease(hold, lease_s)
            if is_granted and not hold.is_late:
                return hold
            if is_granted:
                self._shared.drop(hold)
            elif not hold.is_late and was_shared == self._shared.is_shared:
                break  # all slots are taken
        self._refuse_closed_door(breaker)
        raise BreakerOpenError(breaker.name, BUSY_WAIT_S, "probing")

    # -- after it (permits call these)

    def succeeded(self, hold: Hold) -> None:
        """Count a success, or a probe's share of closing the breaker."""
        breaker = hold.breaker
        if hold.epoch != breaker.record.epoch:
            return
        if hold.lease_id:
            self._shared.finish(hold, succeeded=True)
        else:
            breaker.window.record(self._clock.monotonic(), failed=False)

    def failed(self, hold: Hold, reason: str) -> None:
        """Count a failure; the window's last straw, or one probe's, opens the breaker."""
        if hold.is_late:
            return
        if hold.lease_id:
            self._shared.fall(hold.breaker, model.probe_failed, reason)
            return
        window = hold.breaker.window
        window.record(self._clock.monotonic(), failed=True)
        if model.is_tripped(window.attempts, window.failures, self._config):
            self._shared.fall(hold.breaker, model.tripped, reason)

    def released(self, hold: Hold) -> None:
        """Give a probe's slot back; anything else is as if it had never been."""
        if hold.lease_id and not hold.is_late:
            self._shared.finish(hold, succeeded=False)

    def cooled(self, hold: Hold, seconds: float) -> None:
        """Let the credential rest, in every worker; an operator's word stands above it."""
        if hold.is_late or hold.breaker.record.forced or not seconds > 0:
            return
        until = self._clock.monotonic() + min(seconds, COOL_DOWN_MAX_S)
        self._shared.rest(hold.breaker, until)

    def counted(self, hold: Hold, outcome: CallOutcome) -> None:
        """Tell the observer of a call's end."""
        self._observer.call_counted(hold.breaker.name, outcome)

    # -- what operators see and say

    def states(self) -> dict[str, BreakerView]:
        """How every breaker stands now, parents included, whether or not anybody calls."""
        now = self._clock.monotonic()
        breakers = self._shared.by_name.items()
        return {name: each.view(now, is_shared=self._is_fleet) for name, each in breakers}

    def force(self, name: str, forced: Forced, reason: str, *, epoch: str | None = None) -> None:
        """Open or close a breaker until told otherwise; `Forced.NO` starts it afresh, closed.

        Takes: epoch, the same for one order in every worker, so that it is one move for all.
        Raises: InvariantError for a name that is not configured.
        """
        breaker = self._shared.by_name.get(name)
        if breaker is None:
            known = ", ".join(sorted(self._shared.by_name))
            raise InvariantError(f"No breaker {name}; known: {known}.")
        self._shared.force(breaker, forced, reason, epoch)

    # -- in the background

    async def follow(self) -> None:
        """Read the shared state once; await this before the first attempt."""
        await self._shared.follow()

    async def follow_forever(self) -> None:
        """Keep this worker's breakers in step, and their gauges true without any traffic."""
        while True:
            await self._shared.follow()
            await self._clock.sleep(self._config.follow_every_s)

    async def flush(self) -> None:
        """Wait until every report of this worker has been sent, or has failed."""
        await self._shared.flush()
