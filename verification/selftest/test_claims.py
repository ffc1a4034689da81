"""What a claim says of itself, and what it may not say."""

from __future__ import annotations

from typing import Any

import pytest

from verification.contract import promises
from verification.harness import claims
from verification.harness.claims import ClaimError, claim

PROVES = [promises.ROLLING_WINDOW]
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "one-word-id": ({"id": "window"}, "expected an id like limits.window.two-workers"),
    "capital-id": ({"id": "Limits.Window"}, "expected an id like"),
    "path-as-id": ({"id": "limits/window"}, "expected an id like"),
    "no-promise": ({"proves": []}, "expected promises in proves"),
    "words-for-promises": ({"proves": ["rolling window"]}, "expected promises in proves"),
    "unheard-need": ({"needs": ["redis_raed"]}, "expected capabilities in needs, got ['redis_r"),
    "no-worker": ({"workers": 0}, "expected 1 to 8 workers, got 0"),
    "too-many-workers": ({"workers": 9}, "expected 1 to 8 workers, got 9"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_claim_that_cannot_be_is_refused_where_it_is_written(case: str) -> None:
    asked, problem = WRONG[case]

    with pytest.raises(ClaimError) as caught:
        claim(**{"id": "limits.window", "proves": PROVES, **asked})

    assert problem in str(caught.value)


def test_a_claim_is_read_back_as_it_was_written(request: pytest.FixtureRequest) -> None:
    item = request.node
    item.add_marker(claim("limits.window", proves=PROVES, workers=2, env={"LOG_LEVEL": None}))

    found = claims.claim_of(item)

    assert found is not None
    assert (found.id, found.workers, found.env) == ("limits.window", 2, {"LOG_LEVEL": None})
    assert found.items == promises.ROLLING_WINDOW.items


def test_lines_and_sources_are_named_once() -> None:
    twice = claims.Claim(id="a.b", proves=(promises.ROLLING_WINDOW, promises.ROLLING_WINDOW))

    assert twice.items == promises.ROLLING_WINDOW.items
    assert twice.source == promises.ROLLING_WINDOW.source
