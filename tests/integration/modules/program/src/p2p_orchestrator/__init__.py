"""A stand-in for the orchestrator: reads its configuration, notifies systemd, answers on its port."""
