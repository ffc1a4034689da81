"""What the providers took of each request, by their own journals.

The service's own time is what is left of a request without it. Matched by the mark that each
message carries; read in parts, so that a long run's journal is never one large answer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from verification.harness.http_client import Http
from verification.harness.simulated import SimulatorError


def provider_seconds(calls: Iterable[Mapping[str, Any]], run_id: str) -> dict[int, float]:
    """Request -> seconds that its calls to providers took, from arrival to end, together.

    A call that has not ended, or is nobody's, is left out.
    """
    marked = re.compile(re.escape(run_id) + r"#(\d+)\.")
    took_s: defaultdict[int, float] = defaultdict(float)
    for call in calls:
        found = marked.search(repr(call.get("body")))
        if found and call.get("ended_s") is not None:
            took_s[int(found[1])] += call["ended_s"] - call["arrived_s"]
    return dict(took_s)


@dataclass(slots=True)
class JournalReader:
    """Reads the journals of several simulators, each part once."""

    control_urls: tuple[str, ...]
    run_id: str
    took_s: dict[int, float] = field(default_factory=dict)
    dropped: int = 0
    """Calls that a journal forgot before they were read."""
    _read: dict[str, int] = field(default_factory=dict)

    def read(self) -> None:
        """Read what has ended since the last time.

        Raises: SimulatorError when a simulator does not answer.
        """
        for url in self.control_urls:
            self._read_one(url)

    def _read_one(self, url: str) -> None:
        http = Http(url)
        since = self._read.get(url, 0)
        answer = http.get("/_control/journal", params={"since": str(since)})
        http.close()
        told = answer.json()
        if not isinstance(told, dict) or "calls" not in told:
            raise SimulatorError(f"the journal at {url} cannot be read: {answer}")
        self.dropped = max(self.dropped, int(told["dropped"]))
        # Up to the first call that is still running: later ones are read again with it.
        ended = []
        for call in told["calls"]:
            if call["ended_s"] is None:
                break
            ended.append(call)
        self._read[url] = ended[-1]["index"] + 1 if ended else since
        for index, seconds in provider_seconds(ended, self.run_id).items():
            self.took_s[index] = self.took_s.get(index, 0.0) + seconds
