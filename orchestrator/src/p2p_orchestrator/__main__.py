"""Run the orchestrator as `python -m p2p_orchestrator`."""

import sys

from p2p_orchestrator.cli import main

if __name__ == "__main__":
    sys.exit(main())
