"""A name that is to be removed is one that there is, and what was revoked is told by name."""

from __future__ import annotations

from typing import Any

import pytest

from module_utils.p2p_certificate_names import CertificateError

from .controller import Controller, fleet

LEAVER = "vast-28918742"


def gone(*names: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a run that removes nodes and issues to nobody."""
    return {"nodes": [], "removed": list(names), **changes}


def refusal(controller: Controller, **changes: Any) -> str:
    """Return how a preview and a run refuse alike, with nothing written."""
    before, messages = controller.files(), set()
    for check_mode in (True, False):
        with pytest.raises(CertificateError) as caught:
            controller.run(check_mode=check_mode, **changes)
        messages.add(str(caught.value))
    assert controller.files() == before
    return messages.pop()


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("Vast-28918742", f"'Vast-28918742' (did you mean '{LEAVER}'?)"),
        ("VAST-28918742", f"'VAST-28918742' (did you mean '{LEAVER}'?)"),
        ("vast-2891874", f"'vast-2891874' (did you mean '{LEAVER}'?)"),
        ("hetzner-cpu", "'hetzner-cpu' (did you mean 'hetzner-cpu3'?)"),
        ("nebius-9", "'nebius-9' (did you mean 'nebius-1'?)"),
        ("..", "'..'."),
    ],
)
def test_a_slip_of_the_pen_is_refused_with_the_nearest_name(
    controller: Controller, slip: str, meant: str
) -> None:
    controller.run()
    message = refusal(controller, **gone(slip, LEAVER, known=["nebius-1"]))
    assert message.startswith("p2p_identity_removed: no node of the fleet file")
    assert f"is called {meant}" in message
    assert str(controller.root) in message
    assert message.endswith("Nothing was changed.")


def test_all_slips_are_told_at_once(controller: Controller) -> None:
    controller.run()
    message = refusal(controller, **gone("vast-1", LEAVER, "Hetzner-CPU1"))
    assert "'Hetzner-CPU1' (did you mean 'hetzner-cpu1'?); 'vast-1'" in message


def test_a_blank_controller_knows_the_names_of_the_fleet_alone(controller: Controller) -> None:
    assert "is called 'vast-9' (did you mean 'vast-1'?)" in refusal(
        controller, **gone("vast-9", known=["vast-1"])
    )
    found = controller.run(**gone("vast-1", known=["vast-1"]))
    assert found["revocations"] == {"vast-1": {"revoked": 0, "before": 0}}
    assert found["held_ca"] is False


@pytest.mark.parametrize("check_mode", [True, False])
def test_what_was_revoked_is_told_by_name(controller: Controller, *, check_mode: bool) -> None:
    controller.run()
    controller.run(nodes=fleet()[:2], rotate="start")
    controller.later(61)
    controller.run()
    controller.run(**gone("hetzner-cpu1"))
    given = gone(LEAVER, "hetzner-cpu1", "nebius-1", known=["nebius-1"])
    assert controller.run(check_mode=check_mode, **given)["revocations"] == {
        "hetzner-cpu1": {"revoked": 0, "before": 2},
        "nebius-1": {"revoked": 0, "before": 0},
        LEAVER: {"revoked": 2, "before": 0},
    }


def test_what_a_former_voter_had_is_told_too(controller: Controller) -> None:
    controller.run()
    found = controller.run(nodes=[], voters=["hetzner-cpu1", "hetzner-cpu2"])
    assert found["revocations"] == {"hetzner-cpu3": {"revoked": 1, "before": 0}}
    assert controller.run(nodes=[], voters=["hetzner-cpu1", "hetzner-cpu2"])["revocations"] == {}


@pytest.mark.parametrize("days", [0, 91, 400])
def test_the_same_again_is_a_quiet_no_op_for_ever(controller: Controller, days: int) -> None:
    controller.run()
    given = gone(LEAVER, "nebius-1", known=["nebius-1"])
    assert controller.run(**given)["changed"]
    controller.later(days)
    # All that it had has run out, and neither log holds it any more.
    controller.run(nodes=fleet()[:3])
    before = controller.files()
    for check_mode in (True, False):
        again = controller.run(check_mode=check_mode, **gone(LEAVER, "nebius-1"))
        assert not again["changed"]
        assert again["revoked"] == []
    assert controller.files() == before
    assert "is called 'Vast-28918742' (did" in refusal(controller, **gone("Vast-28918742"))


def test_what_an_earlier_version_revoked_is_known(controller: Controller) -> None:
    controller.run()
    controller.run(**gone(LEAVER))
    # An earlier version knows no such file.
    (controller.root / "removed").unlink()
    assert not controller.run(check_mode=True, **gone(LEAVER))["changed"]
    assert not controller.run(**gone(LEAVER))["changed"]
    assert (controller.root / "removed").read_text() == f"{LEAVER}\n"
    assert not controller.run()["revoked"]


def test_who_only_looks_is_warned_and_sees_the_rest(controller: Controller) -> None:
    controller.run()
    found = controller.run(check_mode=True, only_look=True, removed=["Vast-1"])
    assert found["issued"] == []
    assert ["is called 'Vast-1'" in warning for warning in controller.warnings] == [True]


def test_a_ca_that_was_there_is_told(controller: Controller) -> None:
    assert [controller.run(check_mode=mode)["held_ca"] for mode in (True, False, True)] == [
        False,
        False,
        True,
    ]


def names(text: str) -> list[str]:
    """Return whose certificates a list denies."""
    return sorted(line.split("# ")[1] for line in text.splitlines())


@pytest.mark.parametrize("check_mode", [True, False])
def test_who_is_called_by_nobody_gets_what_is_denied_of_voters(
    controller: Controller, *, check_mode: bool
) -> None:
    controller.run()
    stays = ["hetzner-cpu1", "hetzner-cpu2"]
    # One that votes no longer and stays in the fleet is called by nobody.
    found = controller.run(nodes=[], voters=stays, called=stays)
    assert (names(found["denied"]), found["denied_callees"]) == (["hetzner-cpu3"], "")
    found = controller.run(**gone(LEAVER, called=stays), check_mode=check_mode)
    assert names(found["denied"]) == ["hetzner-cpu3", LEAVER]
    assert found["denied_callees"] == ""
    found = controller.run(**gone("hetzner-cpu2", called=stays[:1]), check_mode=check_mode)
    assert names(found["denied_callees"]) == ["hetzner-cpu2"]
    # A later voter of a name has all that this name ever had denied.
    found = controller.run(**gone(LEAVER, called=[*stays, LEAVER]), check_mode=check_mode)
    assert LEAVER in names(found["denied_callees"])


def test_what_ran_out_leaves_the_list_of_every_node_only_when_that_changes(controller: Controller) -> None:
    controller.run()
    called = ["hetzner-cpu1", "hetzner-cpu2"]
    before = controller.run(**gone("hetzner-cpu3", called=called))["denied_callees"]
    assert names(before) == ["hetzner-cpu3"]
    controller.later(days=91)
    controller.run()
    found = controller.run(**gone(LEAVER, called=called))
    assert LEAVER in names(found["denied"])
    assert found["denied_callees"] == before
    found = controller.run(**gone("hetzner-cpu2", called=called[:1]))
    assert set(names(found["denied_callees"])) == {"hetzner-cpu2"}
