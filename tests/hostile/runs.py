"""Runs of a scenario's playbook over hostile nodes."""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.cases import Case
from tests.hostile.fleet import UNREACHABLE, WELL, Replies, Run, Sandbox, probe_text, reply
from tests.hostile.scenarios import SCENARIOS

PREVIEW = ("--check", "--diff")
# Makes a hostile node's case of its name, its true answer and the path of the canary.
Maker = Callable[[str, dict[str, Any], str], Case]


def deployed(folder: Path) -> Path:
    """Return a sandbox in a folder, whose fleet was deployed to once, whoever asks first."""
    found = folder / "deployed"
    with (folder / "deployed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (found / "end.json").exists():
            run = Sandbox(found).run("deploy.yml")
            assert run.code == 0, run.output
    return found


class Stage:
    """Plays scenarios, each in a sandbox of its own below `folder`; `shared` is that of all workers."""

    def __init__(self, folder: Path, shared: Path) -> None:
        self._folder, self._shared = folder, shared

    def play(self, scenario: str, preview: bool, maker: Maker | None) -> tuple[Run, Sandbox, dict[str, Case]]:
        """Run a scenario's playbook with hostile nodes as `maker` makes them."""
        return self._play(self._folder / "s", scenario, preview, maker)

    def alone(self, scenario: str, preview: bool) -> Run:
        """Run a scenario once whose hostile nodes cannot be reached."""
        stem = self._shared / f"alone-{scenario}-{preview}"
        with stem.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = stem.with_suffix(".pickle")
            if not kept.exists():
                kept.write_bytes(pickle.dumps(self._play(stem, scenario, preview, None)[0]))
        found: Run = pickle.loads(kept.read_bytes())  # noqa: S301  # of this very run
        return found

    def _play(
        self, folder: Path, scenario: str, preview: bool, maker: Maker | None
    ) -> tuple[Run, Sandbox, dict[str, Case]]:
        chosen = SCENARIOS[scenario]
        sandbox = Sandbox(folder, deployed(self._shared), chosen.size)
        answers, cases = chosen.found(sandbox.answers()), {}
        for name in sandbox.addresses:
            replies: Replies = {}
            if name in chosen.hostile and maker is not None:
                cases[name] = maker(name, answers[name], str(sandbox.canary))
                replies = cases[name].replies
            elif name in (*chosen.hostile, *chosen.dead):
                replies = {"*": [UNREACHABLE]}
            elif name in chosen.later:
                replies = {"probe": [WELL, WELL, reply(probe_text(answers[chosen.later[name]]))]}
            sandbox.play(name, answers[name], replies)
        run = sandbox.run(chosen.playbook, *chosen.words, *(PREVIEW if preview else ()))
        return run, sandbox, cases
