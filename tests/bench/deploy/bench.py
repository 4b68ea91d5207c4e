"""What deploys cost, beside a bare login, a play of one task, pyinfra, and a script.

    python -m tests.bench.deploy.bench inventory/lab/distributed_hosts.yaml

On a lab alone, and best on one that nothing was deployed to yet: otherwise the first deploy is left out.
Every way starts without an open connection; the ways take turns, and each figure is a median of its rounds.
What is cheap has more rounds than what takes minutes. pyinfra and the script keep a service of their own
beside the cluster's, which is removed in the end. Prints a table in Markdown and whether the goals are met;
exits 1 if a way does not do what it is measured for.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.no_index import of_containers

from . import rivals
from .fleet import ANSIBLE, PROJECT, close, copy, nodes
from .measure import Cost, FailedError, median, run
from .spent import PREFIX, spent

FEW = 8
FLAT = 1.25
ONE_TASK = 1.5
# In plays of one task, since processors differ: 100 s where such a play takes 7.1 s.
FIRST_PLAYS = 14
RELEASED, NODE_SECONDS = 1.15, 1.5
FIRST = "first deploy"
RESTART = "a line of the unit changed, which restarts all"
RELEASE = "a new release"
UNCOUNTED = "to where the next way begins, which does not count"
CHANGED = re.compile(r"^  (?:would change|changed) +(\d+)", re.MULTILINE)


class Goal(NamedTuple):
    """Something that the figures are to show."""

    text: str
    value: float
    limit: float

    def line(self) -> str:
        """Return it as a line of a table."""
        word = "met" if self.value <= self.limit else "**missed**"
        return f"| {self.text} | {self.value:.1f} | {self.limit:.1f} | {word} |"


class Bench:
    """The ways, their costs so far, and the lab that they are measured on."""

    def __init__(self, inventory: Path, folder: Path) -> None:
        self.inventory, self.folder = inventory, folder
        self.nodes = nodes(inventory)
        self.costs: dict[tuple[str, int], list[Cost]] = {}
        # The fleet file that was deployed last, and what pyinfra and the script wrote last.
        self.latest, self.path = inventory, "/srv/ringrift-0"
        self._turn = 0

    def note(self, what: str, count: int, cost: Cost) -> None:
        """Keep a cost, and tell it on standard error."""
        self.costs.setdefault((what, count), []).append(cost)
        print(f"{what}, {count} nodes: {cost.wall:.1f} s", file=sys.stderr, flush=True)

    def wall(self, what: str, count: int) -> float:
        """Return the median seconds of a way."""
        return median(self.costs[what, count]).wall

    def play(self, what: str, inventory: Path, changes: int | None, *words: str, count: int) -> str:
        """Run a playbook from no open connection.

        Args:
            what: the way's name in the table.
            inventory: the fleet file.
            changes: how many nodes it has to change; None leaves it open.
            words: the playbook and its options.
            count: how many nodes it is about.

        Returns:
            What it printed.

        Raises:
            FailedError: it changed another number of nodes, or failed.
        """
        self._turn += 1
        control = self.folder / f"c{self._turn}"
        command = [str(ANSIBLE / "ansible-playbook"), "-i", str(inventory), *words]
        names = [node.name for node in self.nodes]
        before = spent(names)
        try:
            cost, output = run(command, PROJECT, {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(control)})
        finally:
            close(control)
        after = spent(names)
        cost = cost._replace(
            node_cpu=(after.cpu - before.cpu) / count,
            node_kb=(after.received - before.received) / 1000 / count,
        )
        found = CHANGED.search(output)
        changed = int(found.group(1)) if found else -1
        if changes is not None and changed != changes:
            raise FailedError(f"{what}: {changed} nodes changed instead of {changes}:\n{output[-4000:]}")
        self.note(what, count, cost)
        return output

    def floor(self) -> None:
        """Log in to every node once, all at the same time."""
        before, began = os.times(), time.monotonic()
        running = [subprocess.Popen(node.ssh("true")) for node in self.nodes]
        codes = [process.wait() for process in running]
        if any(codes):
            raise FailedError("ssh failed")
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        self.note("bare `ssh <node> true`", len(self.nodes), Cost(time.monotonic() - began, cpu, 0))

    def rival(self, what: str, words: Sequence[str], path: str) -> None:
        """Run pyinfra or the script, and see that it did what it was to do on the last node."""
        cost, output = run(words, self.folder, {})
        self.note(what, len(self.nodes), cost)
        check = f"grep -q {path} {rivals.CONFIG}/node.conf && systemctl is-active {rivals.SERVICE}"
        if subprocess.run(self.nodes[-1].ssh(check), capture_output=True, check=False).returncode:
            raise FailedError(f"{what} did not deploy:\n{output[-3000:]}")

    # -- what is measured ---------------------------------------------------------------------------

    def first(self) -> None:
        """Deploy to blank nodes, previewed first; leave both out where the nodes are not blank."""
        count = len(self.nodes)
        preview = "first deploy, `--check --diff`"
        said = self.play(preview, self.inventory, None, "deploy.yml", "--check", "--diff", count=count)
        if f"{count} of {count} nodes would change" in said and "a new store is formed" in said:
            self.play(FIRST, self.inventory, count, "deploy.yml", count=count)
            return
        print("the lab is not blank: the first deploy is left out", file=sys.stderr)
        del self.costs[preview, count]
        self.play(UNCOUNTED, self.inventory, None, "deploy.yml", count=count)
        del self.costs[UNCOUNTED, count]

    def nothing(self, turn: int) -> None:
        """Take one round of what has nothing to do."""
        count, fleet = len(self.nodes), self.latest
        few = copy(fleet, self.folder / f"few{turn}", first=FEW)
        one_task = str(Path(__file__).with_name("one_task.yml"))
        preview = ("--check", "--diff")
        vast = sum(node.name.startswith("vast-") for node in self.nodes)
        self.floor()
        self.play("a play of one task", fleet, 0, one_task, count=count)
        self.play("nothing to do", fleet, 0, "deploy.yml", count=count)
        self.play("nothing to do, `--check --diff`", fleet, 0, "deploy.yml", *preview, count=count)
        self.play("nothing to do, `--limit vast`", fleet, 0, "deploy.yml", "--limit", "vast", count=vast)
        self.play("a play of one task", few, 0, one_task, count=FEW)
        self.play("nothing to do", few, 0, "deploy.yml", count=FEW)
        known_hosts = self.inventory.parent / "known_hosts"
        words = rivals.pyinfra(self.nodes, known_hosts, self.path, self.folder)
        self.rival("pyinfra, nothing to do", words, self.path)

    def one_line(self, turn: int) -> None:
        """Change a line of node.conf on all nodes, by every way."""
        count, path = len(self.nodes), f"/srv/ringrift-{turn}"
        self.path = path
        changed = self.latest = copy(self.inventory, self.folder / f"changed{turn}", ringrift_path=path)
        what = "one line of `node.conf` changed"
        self.play(f"{what}, `--check --diff`", changed, count, "deploy.yml", "--check", "--diff", count=count)
        self.play(what, changed, count, "deploy.yml", count=count)
        known_hosts = self.inventory.parent / "known_hosts"
        words = rivals.pyinfra(self.nodes, known_hosts, path, self.folder)
        self.rival("pyinfra, one line changed", words, path)
        words = rivals.script(self.nodes, path, self.folder, sys.executable)
        self.rival("script, whatever there is to do", words, path)

    def restart(self) -> None:
        """Change a line of the unit on all nodes, which takes a restart of each."""
        count = len(self.nodes)
        self.play(
            RESTART, self.latest, count, "deploy.yml", "-e", "p2p_orchestrator_start_timeout=61", count=count
        )
        self.play(UNCOUNTED, self.latest, count, "deploy.yml", count=count)
        del self.costs[UNCOUNTED, count]

    def release(self) -> None:
        """Deploy a new release, after the preview."""
        count = len(self.nodes)
        text = (PROJECT / "requirements/node.txt").read_text(encoding="utf-8")
        # Another lock is another release, with the same packages.
        settings = self.folder / "release.json"
        settings.write_text(json.dumps({"p2p_release_lock": f"{text}# {time.time()}\n"}), encoding="utf-8")
        words = ("deploy.yml", "-e", f"@{settings}")
        preview = f"{RELEASE}, `--check --diff`"
        self.play(preview, self.latest, count, *words, "--check", "--diff", count=count)
        self.play(RELEASE, self.latest, count, *words, count=count)

    # -- what is told -------------------------------------------------------------------------------

    def table(self) -> str:
        """Return the figures as a table."""
        lines = [
            "| | nodes | s | controller's CPU, s | controller's memory, MiB | CPU of a node, s"
            " | sent to a node, kB | rounds |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for (what, count), costs in self.costs.items():
            cost = median(costs)
            memory = f"{cost.memory:.0f}" if cost.memory else ""
            node = f"{cost.node_cpu:.1f} | {cost.node_kb:.0f}" if cost.node_kb else "|"
            lines.append(
                f"| {what} | {count} | {cost.wall:.1f} | {cost.cpu:.1f} | {memory} | {node} | {len(costs)} |"
            )
        return "\n".join(lines)

    def _of_releases(self, count: int) -> list[Goal]:
        """Return what is to be shown of releases, as far as they were measured."""
        goals = []
        if (FIRST, count) in self.costs:
            text = f"first deploy: at most {FIRST_PLAYS} times a play of one task, s"
            limit = FIRST_PLAYS * self.wall("a play of one task", count)
            goals.append(Goal(text, self.wall(FIRST, count), limit))
        if (RELEASE, count) in self.costs:
            released, restarted = (median(self.costs[what, count]) for what in (RELEASE, RESTART))
            text = f"a new release: at most {RELEASED} times a line of the unit changed, s"
            goals.append(Goal(text, released.wall, RELEASED * restarted.wall))
            work = released.node_cpu - restarted.node_cpu
            goals.append(
                Goal("what a release costs a node besides its restart, s of CPU", work, NODE_SECONDS)
            )
        return goals

    def goals(self) -> str:
        """Return what is to be shown, and whether it is."""
        count = len(self.nodes)
        nothing, script = (
            self.wall("nothing to do", count),
            self.wall("script, whatever there is to do", count),
        )
        few, all_of_them = (median(self.costs["nothing to do", number]) for number in (FEW, count))
        goals = [
            Goal(
                f"nothing to do: at most {ONE_TASK} times a play of one task, s",
                nothing,
                ONE_TASK * self.wall("a play of one task", count),
            ),
            Goal("nothing to do: below pyinfra, s", nothing, self.wall("pyinfra, nothing to do", count)),
            Goal("nothing to do: below the script, s", nothing, script),
            Goal(
                "one line changed: below the script, s",
                self.wall("one line of `node.conf` changed", count),
                script,
            ),
            Goal(
                f"memory of the controller flat from {FEW} to {count} nodes (at most {FLAT} times), MiB",
                all_of_them.memory,
                FLAT * few.memory,
            ),
            Goal(
                f"milliseconds a node flat from {FEW} to {count} nodes (at most {FLAT} times)",
                1000 * all_of_them.wall / count,
                1000 * FLAT * few.wall / FEW,
            ),
        ]
        goals += self._of_releases(count)
        return "\n".join(["| goal | figure | limit | |", "|---|---|---|---|", *(one.line() for one in goals)])


def _measure(bench: Bench, options: argparse.Namespace) -> None:
    """Take every way once, then again as long as the time suffices for another round and the release."""
    began = time.monotonic()
    limit: float = 60 * options.minutes

    def timed(part: Callable[[], None]) -> float:
        start = time.monotonic()
        part()
        return time.monotonic() - start

    def fits(seconds: float) -> bool:
        return time.monotonic() - began + seconds < limit

    bench.first()
    known_hosts = bench.inventory.parent / "known_hosts"
    # The rivals' service has to be there before they have nothing to do.
    run(rivals.pyinfra(bench.nodes, known_hosts, bench.path, bench.folder), bench.folder, {})
    idle = timed(lambda: bench.nothing(1))
    change = timed(lambda: bench.one_line(1))
    restarted = timed(bench.restart)
    # A release is previewed, and restarts them all.
    release = 0.0 if options.no_release else restarted
    for turn in range(2, options.rounds + 1):
        if fits(idle + release):
            bench.nothing(turn)
    for turn in range(2, options.changes + 1):
        if fits(change + release):
            bench.one_line(turn)
    if not options.no_release:
        bench.release()
    print(f"measured in {time.monotonic() - began:.0f} s", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="at most, of what has nothing to do (3)")
    parser.add_argument("--changes", type=int, default=2, help="at most, of one changed line (2)")
    parser.add_argument(
        "--minutes", type=float, default=11, help="what has been measured is not repeated beyond (11)"
    )
    parser.add_argument("--no-release", action="store_true", help="leave the new release out")
    options = parser.parse_args(arguments)
    if not rivals.PYINFRA.exists():
        raise SystemExit(f"{rivals.PYINFRA} is missing: scripts/venv .cache/bench requirements/bench.txt")
    # Below /tmp, since paths of sockets are short: 104 bytes is the limit of the oldest system.
    with tempfile.TemporaryDirectory(prefix="p2pb", dir="/tmp") as name:
        bench = Bench(options.inventory.resolve(), Path(name))
        # Voters have a way out, for the distribution's etcd.
        ways = of_containers(PREFIX + node.name for node in bench.nodes if not node.voter)
        if ways:
            raise SystemExit(f"nodes reach a package index: {ways}: run make lab-down")
        failed = ""
        try:
            _measure(bench, options)
        except FailedError as error:
            failed = str(error)
        finally:
            rivals.remove(bench.nodes)
    print(f"{len(bench.nodes)} nodes, {os.cpu_count()} cores; medians, each from no open connection\n")
    print(bench.table())
    if failed:
        print(failed, file=sys.stderr)
        return 1
    print("", bench.goals(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
