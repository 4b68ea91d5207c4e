"""Whether the version of etcd may be changed to what the operator wants."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Answer = Mapping[str, Any]
Version = tuple[int, int, int]

# Older ones lose data in ways that were mended later.
LEAST: Version = (3, 4, 23)
# Versions of 3.5 before this one do not survive a step to 3.6 (too many learners).
LEAST_BEFORE_3_6: Version = (3, 5, 20)


def parse(text: str) -> Version | None:
    """Return a version's three numbers, or None if the text is none."""
    found = re.fullmatch(r"v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:[-+~].*)?", text.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def versions(answers: Mapping[str, Answer]) -> dict[str, str]:
    """Return the version that each voter's running member tells, by name.

    Args:
        answers: The registered result of `p2p_probe` for each voter.
    """
    stores = {name: (answer.get("probe") or {}).get("etcd") or {} for name, answer in answers.items()}
    return {name: str(store["version"]) for name, store in stores.items() if store.get("version")}


def changing(wanted: str, live: Mapping[str, str], voters_of_run: Sequence[str]) -> dict[str, str]:
    """Return which voters of a run get another version, with what they run now ("" if nothing).

    Args:
        wanted: The version, or "" where the distribution decides.
        live: As `p2p_etcd_versions` gives it, for all voters.
        voters_of_run: Voters that the run works on.
    """
    if not wanted or not any(version != wanted for version in live.values()):
        return {}
    return {name: live.get(name, "") for name in voters_of_run if live.get(name) != wanted}


def step_refusal(before: str, after: str) -> str:
    """Return why a member may not go from one version to another, or nothing.

    A version that cannot be read counts as none.
    """
    old, new = parse(before), parse(after)
    if new is None or new < LEAST:
        return f"etcd {after or '(unknown)'} is too old: at least {_text(LEAST)} is needed"
    if old is None or old == new:
        return ""
    if new < old:
        return f"from {before} to {after} is a downgrade, after which etcd may not read its data any more"
    if new[0] != old[0] or new[1] - old[1] > 1:
        return (
            f"from {before} to {after} skips a minor version: go to {old[0]}.{old[1] + 1} first,"
            " with etcd_version and, for a version that is not pinned here, etcd_checksums_file"
        )
    if new >= (3, 6, 0) and old < LEAST_BEFORE_3_6:
        return f"from {before} to {after}: 3.6 follows on {_text(LEAST_BEFORE_3_6)} or later, go there first"
    return ""


def refused(wanted: str, live: Mapping[str, str]) -> dict[str, str]:
    """Return which voters may not get a version though most may, and why: these are left out alone.

    Args:
        wanted: The version, or "" where the distribution decides.
        live: As `p2p_etcd_versions` gives it, for all voters.

    Returns:
        The reasons by name; none where half of those that tell a version are in the way, which ends the run.
    """
    steps = {name: step_refusal(version, wanted) for name, version in live.items() if wanted}
    why = {name: f"its etcd would change its version: {step}" for name, step in steps.items() if step}
    return why if len(why) * 2 < len(live) else {}


def refusal(wanted: str, live: Mapping[str, str], voters: Sequence[str], voters_of_run: Sequence[str]) -> str:
    """Return why a run may not change the version of etcd, or nothing.

    Args:
        wanted: The version, or "" where the distribution decides.
        live: As `p2p_etcd_versions` gives it, for all voters.
        voters: The voters of the fleet file.
        voters_of_run: Those that the run works on.

    Returns:
        The reason: a downgrade, a skipped minor version, a version that is too old, or voters that the run
        leaves at the version of most, while the others get another. What few say refuses no run: see
        `refused`.
    """
    alone = refused(wanted, live)
    live = {name: version for name, version in live.items() if name not in alone}
    moved = changing(wanted, live, [name for name in voters_of_run if name not in alone])
    if not moved:
        return ""
    # A blank voter joins a cluster of the others' version.
    for before in sorted({*live.values()}, key=lambda version: parse(version) or (0, 0, 0)):
        why = step_refusal(before, wanted)
        if why:
            return f"the voters' etcd would change its version: {why}"
    tellers = Counter(live.values())
    left = sorted(
        name
        for name in set(voters) & set(live) - set(voters_of_run)
        if live[name] != wanted and tellers[live[name]] * 2 >= len(live)
    )
    if left:
        return (
            f"etcd would get version {wanted} on {', '.join(sorted(moved))}, and another stays on"
            f" {', '.join(left)}: a change of version takes all voters, run without --limit"
        )
    return ""


def _text(version: Version) -> str:
    return ".".join(map(str, version))


class FilterModule:
    """Filters about the version of etcd."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_etcd_changing": changing,
            "p2p_etcd_refusal": refusal,
            "p2p_etcd_refused": refused,
            "p2p_etcd_step_refusal": step_refusal,
            "p2p_etcd_versions": versions,
        }
