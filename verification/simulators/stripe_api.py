"""A simulated Stripe API: `python verification/simulators/stripe_api.py --port 0`.

It announces its port as one line of JSON on stdout. Standard library only.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Run by path: the folder of this file would hide the package it belongs to.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from verification.simulators.simulator import parser, run  # noqa: E402  see above
from verification.simulators.stripe_wire import StripeWire  # noqa: E402  idem

if __name__ == "__main__":
    sys.exit(run(StripeWire(), parser(__doc__).parse_args().port))
