"""Runs each playbook as a preview and for real over the same fleet, and prints how true the preview was.

usage: python -m tests.preview [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.preview.compare import Event, Row, compare, drift_disagreements, problems
from tests.preview.fleet import AT_ONCE, PROJECT, Fleet, containers, shell, wait_for_cluster
from tests.preview.states import JOINS, OTHERS, START_STATES, VOTERS

LOCK = (PROJECT / "requirements/node.txt").read_text()
# A lock with another text gives another release.
OLDER, NEWER = (json.dumps({"p2p_release_lock": f"{LOCK}# {which}\n"}) for which in ("older", "newer"))


class Harness:
    """The fleet, and what was found so far."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.failures: list[str] = []
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line with the time."""
        print(f"{time.monotonic() - self._began:6.0f} s  {text}", flush=True)

    def fail(self, what: str) -> None:
        """Keep and print what is wrong."""
        self.failures.append(what)
        print(f"   FAILED: {what}", flush=True)

    def preview(self, playbook: str, *words: str) -> list[Event]:
        """Preview a playbook, and see that it changed nothing."""
        before = self.fleet.state()
        events = self.fleet.run(playbook, "--check", "--diff", *words)
        after = self.fleet.state()
        for node, lines in before.items():
            touched = set(lines.splitlines()) ^ set(after[node].splitlines())
            if touched:
                self.fail(f"the preview of {playbook} changed {node}: {sorted(touched)[:6]}")
        return self._sound(playbook, events)

    def _sound(self, playbook: str, events: Sequence[Event]) -> list[Event]:
        for problem in problems(events):
            self.fail(f"{playbook}: {problem}")
        return list(events)

    def compare(self, title: str, states: Mapping[str, str], playbook: str, *words: str) -> list[Event]:
        """Preview a playbook, run it, print predicted against actual, and return the preview's events.

        Args:
            title: what is compared, for people.
            states: the start state of each node, for people.
            playbook: its file, in the project's folder.
            words: further arguments of `ansible-playbook`.
        """
        self.say(f"{title}: preview")
        preview = self.preview(playbook, *words)
        self.say(f"{title}: run")
        real = self._sound(playbook, self.fleet.run(playbook, "--diff", *words))
        rows = compare(preview, real)
        for node, row in rows.items():
            _print_row(title, f"{states[node]}, {node}" if node in states else "this machine", row)
            self.failures += [f"{title}: {node}: {difference}" for difference in row.differences]
        agreed = sum(row.agreed for row in rows.values())
        wrong = sum(len(row.differences) for row in rows.values())
        total = Row(agreed=agreed, differences=[""] * wrong)
        self.say(f"{title}: {agreed} of {agreed + wrong} tasks as predicted, {total.fidelity:.1f} %")
        if not agreed + wrong:
            self.fail(f"{title}: nothing was predicted and nothing changed: the start states are none")
        return preview

    def quiet(self, title: str, playbook: str, *words: str) -> None:
        """See that neither a preview nor a run changes anything any more."""
        self.say(f"{title}: second preview")
        self._changes_nothing(f"{title}: the second preview", self.preview(playbook, *words))
        self.again(title, playbook, *words)

    def again(self, title: str, playbook: str, *words: str) -> None:
        """See that a second run changes nothing any more."""
        self.say(f"{title}: second run")
        self._changes_nothing(f"{title}: the second run", self.fleet.run(playbook, *words))

    def _changes_nothing(self, what: str, events: Sequence[Event]) -> None:
        for event in events:
            if event["changed"]:
                self.fail(f"{what} changes {event['node']}: {event['task']}")

    def health(self) -> Callable[[Sequence[Event]], None]:
        """Ask for the health; return what holds it against a preview of the same state."""
        events = self.fleet.run("health.yml")
        report = json.loads((self.fleet.reports / "health.json").read_text())

        def agree(preview: Sequence[Event]) -> None:
            states = {node["node_id"]: node["state"] for node in report["nodes"]}
            for disagreement in drift_disagreements(report, events, preview):
                self.fail(disagreement)
            self.say(f"drift: health and preview asked about {len(states)} nodes")
            for node, state in sorted(states.items()):
                print(f"   {START_STATES[node].title:<34} health says {state}")

        return agree


def _print_row(title: str, state: str, row: Row) -> None:
    figures = f"predicted {len(row.predicted):>2}  actual {len(row.actual):>2}  {row.fidelity:5.1f} %"
    print(f"   {title:<24} {state:<50} {figures}")
    for difference in row.differences:
        print(f"      {difference}")


def deploy(harness: Harness) -> None:
    """Compare deploy.yml over a blank fleet, and over one node of each start state."""
    first = {name: "blank" for name, state in START_STATES.items() if state.first == "today"}
    harness.compare("deploy, blank fleet", first, "deploy.yml", "--limit", ",".join(first))
    older = [name for name, state in START_STATES.items() if state.first == "older"]
    harness.fleet.run("deploy.yml", "--limit", ",".join(older), "-e", OLDER)
    wait_for_cluster(VOTERS)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(shell, START_STATES, [state.script for state in START_STATES.values()]))
    health_agrees = harness.health()
    titles = {name: state.title for name, state in START_STATES.items()}
    # What ran before is the other program: it goes only when told so for the whole fleet.
    health_agrees(harness.compare("deploy, start states", titles, "deploy.yml", "-e", "p2p_cutover=true"))
    harness.quiet("deploy", "deploy.yml")


def upgrade_and_rollback(harness: Harness) -> None:
    """Compare a new release brought to all voters and some others, and the way back from it."""
    nodes = dict.fromkeys(VOTERS, "voter") | dict.fromkeys(list(OTHERS)[:2], "node")
    limit = ("--limit", ",".join(nodes))
    harness.compare("deploy, new release", nodes, "deploy.yml", *limit, "-e", NEWER)
    harness.compare("rollback", nodes, "rollback.yml", *limit)
    harness.again("rollback", "rollback.yml", *limit)


def remove(harness: Harness) -> None:
    """Compare the removal of a node."""
    leaves = "vast-preview-converged"
    limit = ("--limit", leaves)
    harness.compare("remove", dict.fromkeys(VOTERS, "voter") | {leaves: "leaves"}, "remove.yml", *limit)
    harness.again("remove", "remove.yml", *limit)


def change_voters(harness: Harness) -> None:
    """Compare a voter replaced by a node that did not vote, in a fleet of them and one node more."""
    leaves, joins, other = "vultr-preview-3", JOINS, "runpod-preview-stopped"
    titles = dict.fromkeys(VOTERS, "voter that stays") | {leaves: "leaves", joins: "joins", other: "node"}
    voters = [joins if name == leaves else name for name in VOTERS]
    harness.fleet.write(voters, among=titles)
    # The node that joins rents by the hour, which the policy does not like.
    harness.compare("voters, one replaced", titles, "voters.yml", "-e", "p2p_voter_policy=warn")


TRIALS: tuple[Callable[[Harness], None], ...] = (deploy, upgrade_and_rollback, remove, change_voters)


def main() -> int:
    """Run all trials; 0 only if every preview told the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="folder for the output and the events of every run")
    folder = parser.parse_args().keep
    # Whoever stops it finds no containers left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="p2p-preview-") as scratch:
        fleet = Fleet(folder or Path(scratch))
        harness = Harness(fleet)
        harness.say(f"{len(VOTERS)} voters and {len(OTHERS)} other nodes start")
        with containers(list(START_STATES)):
            for trial in TRIALS:
                trial(harness)
    print(
        f"\n{len(harness.failures)} failures" if harness.failures else "\nevery preview told the truth: 100 %"
    )
    for failure in harness.failures:
        print(f"  {failure}")
    return bool(harness.failures)


if __name__ == "__main__":
    sys.exit(main())
