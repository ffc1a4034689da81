"""A simulated provider of chat: `python verification/simulators/llm.py --kind openai --port 0`.

It announces its port as one line of JSON on stdout. Standard library only.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Run by path: the folder of this file would hide the package it belongs to.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from verification.simulators.anthropic_wire import AnthropicWire  # noqa: E402  see above
from verification.simulators.openai_wire import OpenAIWire  # noqa: E402  idem
from verification.simulators.simulator import parser, run  # noqa: E402  idem

KINDS: dict[str, type[OpenAIWire | AnthropicWire]] = {
    "openai": OpenAIWire,
    "anthropic": AnthropicWire,
}


def main() -> int:
    """Serve until told to end."""
    options = parser(__doc__)
    options.add_argument("--kind", choices=sorted(KINDS), required=True)
    given = options.parse_args()
    return run(KINDS[given.kind](), given.port)


if __name__ == "__main__":
    sys.exit(main())
