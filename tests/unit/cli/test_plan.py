"""What ``bakery plan`` prints of a plan, and of the refusal to make one."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from bakery.bake import WholePlan
from scripts.bakery_cli import plan as plans
from scripts.bakery_cli.aws.stack import PREVIEW, PlanRefusedError
from scripts.bakery_cli.stages import STAGES
from tests.unit.cli.events import PLAN, command


def shown(**changes: Any) -> str:
    out = StringIO()
    plans.show(Console(file=out, width=120), WholePlan.model_validate({**PLAN, **changes}))
    return out.getvalue()


def test_a_plan_is_shown_in_the_order_in_which_it_would_be_done() -> None:
    text = shown()
    parts = [
        "A bake of web would make an image: first image of this recipe",
        "1. Launch builder",
        "t3.medium, else m6i.large; from ami-0base0000000000f0",
        "12 GiB gp3, 3000 iops, 125 MiB/s",
        "in subnet-1 (eu-west-1a)",
        "2. Wait for agent   until Systems Manager knows the builder, at most 10 minutes",
        "3. Prepare",
        "4. Customize        2 steps",
        "1. packages: AmiBakery.web.packages version 1, within 1 h 00 min",
        "2. kernel: AmiBakery-reboot-linux",
        "5. Remove identity  AmiBakery-remove-opsworks-identity version 1, Opsworks auto",
        "9. Create image     web-20260131T030000Z",
        "10. Harden image     IMDSv2 only",
        "11. Test and copy    4 tests on 2 instances",
        "on t3.medium, else m6i.large",
        "the identities of the first two must differ",
        "1. it has come up: AmiBakery-test-image version 1, within 1 h 00 min",
        "2. it tells its identity: AmiBakery-report-identity version 1",
        "3. it lists its packages: AmiBakery-report-packages version 1",
        "4. answers: AmiBakery.web.test.answers version 1",
        "12. Release          eu-west-1",
        "13. Publish          /ami-bakery/web/image",
        "14. Launch templates the recipe names none",
        "15. Keep previous    /ami-bakery/web/previous-image gets nothing: this is the first",
        "16. Retire images    none: the recipe says nothing of retention",
        "17. Clean up",
        "Base image            ami-0base0000000000f0 (al2023-base), x86_64, 8 GiB",
        "Current image         none",
        "What changed          first image of this recipe",
        "Time                  about 9 min",
        "Cost                  about $0.0062 for the bake, at most $0.60 a month to keep",
    ]
    positions = [text.find(part) for part in parts]
    assert -1 not in positions, parts[positions.index(-1)]
    assert positions == sorted(positions)


def test_a_windows_bake_shows_its_patience_and_what_two_instances_may_share() -> None:
    launch = {**PLAN["launch"], "windows": True}
    shared = "the identities of the first two must differ, but for what Sysprep renews"
    plain = shown(launch=launch, remove_identity=None)
    assert "at most 40 minutes" in plain
    assert "nothing: the base is Windows" in plain
    assert shared in plain and "and wait for the stop" in plain
    sysprepped = shown(launch=launch, sysprep=command("AmiBakery-sysprep-windows"))
    assert shared not in sysprepped
    assert "Stop builder     AmiBakery-sysprep-windows version 1" in sysprepped


def test_regions_labels_and_launch_templates_are_shown_in_the_order_of_the_plan() -> None:
    regions = ["eu-west-1", "us-east-1", "eu-central-1"]
    names = ["/ami-bakery/web/image", "/ami-bakery/web/labels/canary"]
    text = shown(
        places=[{"region": region} for region in regions],
        pointers=[{"region": region, "name": name} for region in regions for name in names],
        templates=[
            {"region": "eu-west-1", "id": "lt-00000001"},
            {"region": "us-east-1", "id": "lt-00000002"},
        ],
    )
    parts = [
        "Test and copy    4 tests",
        "copy to us-east-1",
        "copy to eu-central-1",
        "Release          eu-west-1, us-east-1, eu-central-1",
        "Publish          /ami-bakery/web/image in 3 Regions",
        "/ami-bakery/web/labels/canary",
        "Launch templates lt-00000001 in eu-west-1",
        "lt-00000002 in us-east-1",
    ]
    positions = [text.find(part) for part in parts]
    assert -1 not in positions, parts[positions.index(-1)]
    assert positions == sorted(positions)
    assert "copy to eu-west-1" not in text  # the Region of the stack has it anyway
    assert text.count("/ami-bakery/web/labels/canary") == 1


def test_a_plan_of_one_region_names_no_copies() -> None:
    assert "copy to" not in shown() and "Regions" not in shown()


def test_test_instances_of_several_types_and_no_comparison_are_shown() -> None:
    machines = [{"instance_types": [name]} for name in ("t3.medium", "m6i.large")]
    text = shown(test={**PLAN["test"], "machines": machines, "compare": None})
    assert "on t3.medium\n" in text and "on m6i.large\n" in text
    assert "identities" not in text


def test_a_plan_with_spot_says_that_it_is_tried_first_and_what_the_cost_is_at() -> None:
    text = shown(launch={**PLAN["launch"], "spot": True})
    assert "spot: t3.medium, else m6i.large; else on-demand: t3.medium, else m6i.large" in text
    assert "at on-demand prices; spot, which is tried first, costs less" in text
    assert "spot" not in shown()


def test_a_plan_that_would_do_nothing_says_why_and_what_force_does() -> None:
    text = shown(bake_needed=False, reason="nothing has changed since image ami-1")
    assert "A bake of web would do nothing: nothing has changed since image ami-1" in text
    assert "bakery plan web --force" in text


def test_the_stages_of_a_plan_are_those_of_a_bake() -> None:
    text = shown()
    assert all(f". {stage.title} " in text for stage in STAGES if stage.key != "plan")


def test_the_image_that_would_be_kept_as_the_previous_one_is_named() -> None:
    text = shown(current={**PLAN["current"], "image": "ami-0123456789abcdef0"})
    assert "/ami-bakery/web/previous-image gets ami-0123456789abcdef0" in text


def test_the_name_of_a_bake_that_has_none_yet_is_not_made_up() -> None:
    assert shown(image_name=f"web-{PREVIEW}").count("web-<bake>\n") == 2


def test_many_subnets_are_folded() -> None:
    subnets = [
        {"id": f"subnet-0123456789abcdef{n}", "zone": f"eu-west-1{n}", "public": True}
        for n in range(6)
    ]
    text = shown(launch={**PLAN["launch"], "subnets": subnets})
    assert all(f"{subnet['id']} ({subnet['zone']})" in text for subnet in subnets)
    assert max(map(len, text.splitlines())) <= 105


def test_a_locked_release_is_shown() -> None:
    text = shown(prepare=command("AmiBakery-prepare-linux", LockRelease=["2018.03"]))
    assert "AmiBakery-prepare-linux version 1, LockRelease 2018.03" in text


@pytest.mark.parametrize("error", ["InvalidRecipeError", "SomethingElse"])
def test_a_refusal_shows_every_problem_and_fails(error: str) -> None:
    out = StringIO()
    refusal = PlanRefusedError(error, "Recipe 'web' cannot be baked:\n- base: is bad\n- x: worse")
    assert plans.show_refusal(Console(file=out, width=120), "web", refusal) == 1
    text = out.getvalue()
    assert "would fail in Plan; nothing would be created" in text
    assert error in text and "  - base: is bad\n  - x: worse" in text


def test_which_images_would_go_is_told_by_the_recipes_rule() -> None:
    text = shown(retention={"keep": 5, "days": 90}, retire_in=["eu-west-1", "us-east-1"])
    assert "all but the newest 5, those of the last 90 days, and those in use" in text
    assert "in eu-west-1, us-east-1; see bakery retire web --dry-run" in text


def test_fast_launch_has_cost_lines_of_its_own() -> None:
    costs = [{"region": "eu-west-1", "usd": 0.61, "monthly_usd": 12.5}]
    text = shown(fast_launch=costs, retention={"keep": 5}, retire_in=["eu-west-1"])
    assert "fast launch for the new one in eu-west-1" in text
    line = next(it for it in text.splitlines() if it.startswith("Fast launch cost"))
    assert "in eu-west-1 at most $0.61 for each new image, and $12.50 a month" in line


def test_a_password_that_stays_in_the_image_is_told() -> None:
    assert "readable in the image" not in shown()
    given = {"PasswordKind": ("specified",), "Secret": ("windows/admin",)}
    text = shown(generalize={**PLAN["generalize"], "parameters": given})
    assert "Password              that of a secret: it stays readable in the image" in text


def test_what_is_done_to_a_running_host_is_told_and_what_is_not() -> None:
    host = {
        "instance_id": "i-0123456789abcdef0",
        "image_name": f"ami-bakery-clone/{PREVIEW}",
        "leave_out": ["/dev/sdf", "/dev/sdg"],
    }
    text = shown(host=host)
    parts = [
        "1. Clone host       image i-0123456789abcdef0, which is not restarted, stopped or changed",
        "without /dev/sdf, /dev/sdg",
        "ami-bakery-clone/<bake>, which goes with the bake",
        "2. Launch builder",
        "from the clone of ami-0base",
        "it reaches nothing but Systems Manager",
        "Clean up         terminate the builder, remove the clone",
        "Base host ",
    ]
    positions = [text.find(part) for part in parts]
    assert -1 not in positions, parts[positions.index(-1)]
    assert positions == sorted(positions)
    assert "restarted by EC2 for it" in shown(host={**host, "reboot": True})
    assert "without" not in shown(host={**host, "leave_out": []})
