"""`python -m llmhive` is `llmhive`."""

import sys

from llmhive.cli import main

if __name__ == "__main__":
    sys.exit(main())
