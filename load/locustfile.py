"""What Locust loads: `locust -f load/locustfile.py --host URL`, or by `nox -s load`.

By hand it follows a profile (`--load-profile`, default ci) with the keys in LLMHIVE_API_KEY
(commas between) and the webhook secret in STRIPE_WEBHOOK_SECRET; what it has no key for is left
out, and said. Locust's tables, UI and CSV show what it sent; the verdict is the gate's.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Locust puts its working directory first, wherever that is.
sys.path.insert(0, str(ROOT))

from verification.harness.import_wall import build_import_wall  # noqa: E402  the path first

build_import_wall()

from locust import events  # noqa: E402  behind the wall, as everything

from load import machine, plan, profile_file  # noqa: E402  idem
from load.generator import Generator  # noqa: E402  idem
from load.instrument import Sighting  # noqa: E402  idem
from load.kept import Kept  # noqa: E402  idem
from load.schedule import Traffic  # noqa: E402  idem
from load.shapes import OpenLoop  # noqa: E402  idem
from load.users import Caller  # noqa: E402  idem

__all__ = ["Caller", "OpenLoop"]

NOT_THE_VERDICT = (
    "Locust's P99 is rounded and is not the verdict; `nox -s load -- --recheck %s` judges this run"
)
# Made before Locust forks its workers, so that they write into one folder.
RUN_ID = f"hand-{secrets.token_hex(4)}"

log = logging.getLogger("llmhive.load")


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    """The one option of ours."""
    parser.add_argument(
        "--load-profile",
        default="ci",
        help=f"what to send, by hand: {', '.join(profile_file.names())}, or a .toml file",
    )


@events.init.add_listener
def attach(environment: Any, **_: object) -> None:
    """Read the plan, or make one by hand, and hang the generator onto Locust."""
    try:
        path = os.environ.get(plan.VARIABLE)
        told = plan.read(Path(path)) if path else by_hand(environment.parsed_options.load_profile)
    except (plan.PlanError, profile_file.ProfileError) as error:
        log.critical("could not run: %s", error)
        sys.exit(3)
    if own_folder := os.environ.get(plan.FOLDER_VARIABLE):
        told = replace(told, folder=own_folder)
    is_by_hand = not path and not environment.parsed_options.worker
    Generator(environment, told, keep=keep if is_by_hand else None).attach()


def by_hand(name: str) -> plan.Plan:
    """A plan from a profile and the variables; kinds without their secret are left out.

    Raises: ProfileError.
    """
    profile = profile_file.read(name)
    keys = [key.strip() for key in os.environ.get("LLMHIVE_API_KEY", "").split(",") if key.strip()]
    secret = os.environ.get("STRIPE_WEBHOOK_SECRET")
    lacking = [] if keys else ["chat", "stream"]
    lacking += [] if secret else ["webhook"]
    if lacking:
        log.warning("left out for want of LLMHIVE_API_KEY or the secret: %s", ", ".join(lacking))
    rates = {kind: 0.0 if kind in lacking else r for kind, r in profile.traffic.rates.items()}
    if not any(rates.values()):
        raise profile_file.ProfileError(profile.name, ["nothing is left to send"])
    return plan.Plan(
        run_id=RUN_ID,
        profile=profile.name,
        traffic=Traffic(rates, profile.traffic.stages, profile.traffic.seed),
        warm_up_s=profile.warm_up_s,
        request_timeout_s=profile.request_timeout_s,
        callers=plan.callers([(key, 1.0) for key in keys]),
        budget=plan.Budget(
            error_share=profile.stop_error_share, after_requests=profile.stop_after_requests
        ),
        folder=str(ROOT / "reports" / "load" / RUN_ID / "raw"),
        webhook_secret=secret,
    )


def keep(told: plan.Plan) -> None:
    """Keep what the gate needs to judge a run by hand; the target's identity is not looked at."""
    folder = Path(told.folder).parent
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    Kept(
        plan=told.public(),
        profile=told.profile,
        sighting=Sighting(),
        facts={"stack": "by hand", "users": f"{len(told.callers)} users"},
        machine=machine.fingerprint(),
        started=now,
        finished=now,
        digest=told.digest,
    ).write(folder)
    log.warning(NOT_THE_VERDICT, folder)
