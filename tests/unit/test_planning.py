"""The decision that Plan makes: refuse with every reason, or a whole bake."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bakery import VERSION, naming, planning, stages, verdicts
from bakery.bake import MAX_STATE_BYTES, Command, Current, Plan, WholePlan
from bakery.documents import parameter_problems, size_of
from bakery.errors import InvalidRecipeError
from bakery.naming import TAG_BASE_IMAGE, TAG_FINGERPRINT, fixed_document
from bakery.planning import World, decide
from bakery.problems import Problem
from bakery.recipe import Recipe
from bakery.resources import Image, Parameter, Subnet
from infra.loading import load_document
from tests.unit.samples import (
    APPLICATION,
    DOCUMENT,
    FIXED,
    GRAVITON,
    IMAGE,
    NITRO,
    NOW,
    REBOOT,
    SHELL,
    XEN,
    document,
    documents,
    recipe,
    world,
)

DOCUMENTS = Path(__file__).resolve().parents[2] / "documents"
PATCH = document("AWS-RunPatchBaseline", {"Operation": {"type": "String"}})
PACKAGES = document("AmiBakery.web.packages")
NEEDED = {"type": "String"}
ANSWERS = {"name": "answers", "shell": "curl -fsS localhost"}
STEPS = documents(
    document("AmiBakery.web.test.answers"),
    PATCH,
    PACKAGES,
    document("AmiBakery-reboot-linux", {"Bake": NEEDED}),
    document(
        "AmiBakery-install-application",
        dict.fromkeys(("Bake", "SourceType", "SourceInfo", "Sha256", "Directory"), NEEDED),
    ),
)


def problems(looked_at: World) -> dict[str, str]:
    with pytest.raises(InvalidRecipeError) as refused:
        decide(looked_at, force=False)
    return {problem.path: problem.message for problem in refused.value.problems}


def base(**changes: Any) -> Image:
    return replace(IMAGE, **changes)


def everything(**changes: Any) -> World:
    steps = recipe(customize=[SHELL, DOCUMENT, REBOOT, APPLICATION], test=[ANSWERS])
    return world(**{"recipe": steps, "documents": STEPS, **changes})


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"base": base(architecture="arm64")}, {"builder.instance_types[0]"}),
        (
            {"instance_types": ("t4g.medium",), "known_types": {"t4g.medium": GRAVITON}},
            {"builder.instance_types[0]"},
        ),
        ({"base": base(architecture="i386")}, {"base", "builder.instance_types[0]"}),
        ({"base": base(virtualization="paravirtual")}, {"builder.instance_types[0]"}),
        (
            {"base": base(root_device_type="instance-store")},
            {"base", "builder.instance_types[0]"},
        ),
        (
            {
                "base": base(boot_mode="uefi"),
                "instance_types": ("t3.medium", "m3.medium"),
                "known_types": {"t3.medium": NITRO, "m3.medium": XEN},
            },
            {"builder.instance_types[1]"},
        ),
        ({"instance_types": ("t3.medium", "x9.huge")}, {"builder.instance_types[1]"}),
        ({"subnets": ()}, {""}),
        ({"subnets": (Subnet("subnet-1", "eu-west-1a", public=True),)}, {"builder.public_address"}),
        ({"recipe": recipe(image_name="ab")}, {"image_name"}),
        ({"recipe": recipe(image_name="")}, {"image_name"}),
        ({"recipe": recipe(image_name="{recipe}" * 16), "name": "a" * 9}, {"image_name"}),
        (
            {"recipe": recipe(builder={"root_volume": {"size_gib": 7}})},
            {"builder.root_volume.size_gib"},
        ),
        ({"recipe": recipe(customize=[SHELL])}, {"customize[0]"}),
        ({"recipe": recipe(test=[ANSWERS])}, {"test[0]"}),
        ({"recipe": recipe(test={"instance_types": ["x9.huge"]})}, {"test.instance_types[0]"}),
        (
            {
                "recipe": recipe(test={"instance_types": ["t3.medium", "t4g.medium"]}),
                "known_types": {"t3.medium": NITRO, "t4g.medium": GRAVITON},
            },
            {"test.instance_types[1]"},
        ),
        (
            {"recipe": recipe(customize=[REBOOT, DOCUMENT])},
            {"customize[0]", "customize[1].document"},
        ),
    ],
    ids=lambda value: "+".join(sorted(value)) or "recipe",
)
def test_what_cannot_work_is_refused_at_its_path(changes: dict[str, Any], paths: set[str]) -> None:
    assert set(problems(world(**changes))) == paths


def test_everything_that_is_wrong_is_reported_at_once() -> None:
    found = problems(
        world(
            base=base(state="disabled", architecture="arm64"),
            subnets=(),
            recipe=recipe(
                image_name="x",
                customize=[DOCUMENT],
                builder={"root_volume": {"size_gib": 1}},
            ),
        ).plus(Problem("seen.elsewhere", "is bad"))
    )
    assert set(found) == {
        "",
        "base",
        "builder.instance_types[0]",
        "builder.root_volume.size_gib",
        "customize[0].document",
        "image_name",
        "seen.elsewhere",
    }


def test_a_missing_base_image_is_the_problem_that_was_seen_and_no_other() -> None:
    looked_at = world(base=None, recipe=recipe(image_name="{base}")).plus(
        Problem("base.ami", "gone")
    )
    assert problems(looked_at) == {"base.ami": "gone"}


def test_without_a_base_image_the_rest_is_still_checked() -> None:
    looked_at = world(base=None, subnets=(), recipe=recipe(customize=[DOCUMENT]))
    assert set(problems(looked_at)) == {"", "customize[0].document"}


def test_a_missing_document_is_named_with_what_to_do() -> None:
    assert problems(world(recipe=recipe(customize=[DOCUMENT]))) == {
        "customize[0].document": "there is no document 'AWS-RunPatchBaseline' in this account and "
        "Region; correct its name, or deploy the stack"
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"type": "Automation"}, "is of type Automation, and only those of type Command run"),
        ({"type": "Package", "status": "Failed"}, "is of type Package"),
        ({"status": "Failed"}, "is Failed, not Active; wait until it is, or mend it"),
        ({"status": "Creating"}, "is Creating, not Active"),
        ({"platforms": ("MacOS", "Windows")}, "is for MacOS and Windows, not for Linux; name"),
    ],
    ids=str,
)
def test_a_document_that_run_command_cannot_run_on_a_builder_is_refused(
    changes: Mapping[str, Any], says: str
) -> None:
    """Its parameters are another document's: nothing is said about them."""
    step = {**DOCUMENT, "parameters": {"Unknown": "x"}}
    unfit = replace(PATCH, **changes)
    found = problems(world(recipe=recipe(customize=[step]), documents=documents(unfit)))
    assert list(found) == ["customize[0].document"]
    assert found["customize[0].document"].startswith(f"document 'AWS-RunPatchBaseline' {says}")


@pytest.mark.parametrize("platforms", [(), ("Linux",), ("Linux", "MacOS", "Windows")])
def test_a_document_for_linux_or_for_an_unstated_platform_is_taken(
    platforms: tuple[str, ...],
) -> None:
    fit = replace(PATCH, platforms=platforms)
    decide(world(recipe=recipe(customize=[DOCUMENT]), documents=documents(fit)), force=False)


@pytest.mark.parametrize("value", ["ami-01234567", "ami-0123456789abcdef0"])
def test_a_parameter_that_holds_an_image_id_names_an_image(value: str) -> None:
    assert planning.no_image_id(Parameter("/p", "String", value)) is None


@pytest.mark.parametrize(
    ("type_", "value", "says"),
    [
        ("StringList", "ami-01234567,ami-89abcdef", "(StringList) holds a text of 25 characters"),
        ("String", "latest", "holds a text of 6 characters instead of one image id; put one such"),
        ("String", " ami-01234567", "holds a text of 13 characters"),
        ("String", "ami-01234567\n", "holds a text of 13 characters"),
        ("String", "AMI-01234567", "holds a text of 12 characters"),
        ("String", "x" * 4096, "holds a text of 4096 characters"),
        ("String", "snap-01234567", "(String) holds 'snap-01234567' instead of one image id"),
        ("String", "ami-0123", "(String) holds 'ami-0123' instead"),
    ],
)
def test_a_parameter_that_holds_something_else_is_refused_with_what_it_holds(
    type_: str, value: str, says: str
) -> None:
    reason = planning.no_image_id(Parameter("/p", type_, value))
    assert reason and says in reason and len(reason) < 250


@pytest.mark.parametrize(
    "value",
    [
        "correct horse",
        "hunter2",
        "db-Pa55w0rd",
        "db-\nbeef",
        "p-" + "a" * 41,
        "ami-beef!",
        "AKIA-beef",
    ],
)
def test_of_what_may_be_a_password_only_the_length_is_told(value: str) -> None:
    reason = planning.no_image_id(Parameter("/p", "String", value))
    assert reason and value not in reason and repr(value) not in reason
    assert f"a text of {len(value)} characters" in reason


def test_of_a_secret_parameter_nothing_is_told() -> None:
    reason = planning.no_image_id(Parameter("/p", "SecureString", "AQICAHg"))
    assert reason and "AQICAHg" not in reason and "store it as a String" in reason


def test_a_document_of_ours_that_is_not_active_is_told_without_a_path() -> None:
    failed = replace(document(fixed_document(planning.PREPARE)), status="Failed")
    found = problems(world(documents=documents(failed)))
    assert found[""].startswith("document AmiBakery-prepare-linux is Failed, not Active")


@pytest.mark.parametrize("stem", FIXED)
def test_a_missing_document_of_ours_means_that_the_stack_must_be_deployed(stem: str) -> None:
    deployed = documents()
    del deployed[fixed_document(stem)]
    assert problems(world(documents=deployed)) == {
        "": f"document AmiBakery-{stem} is not deployed; deploy the stack"
    }


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"Operation": "Scan", "Speed": "1"}, "Speed: the document has no such parameter"),
        ({}, "Operation: a value is required"),
        ({"Operation": ["Scan", "Install"]}, "Operation: takes exactly one value"),
    ],
)
def test_a_parameter_that_the_document_does_not_accept_is_refused(
    parameters: Mapping[str, object], says: str
) -> None:
    step = {**DOCUMENT, "parameters": parameters}
    found = problems(world(recipe=recipe(customize=[step]), documents=documents(PATCH)))
    assert list(found) == ["customize[0].parameters"]
    assert found["customize[0].parameters"].startswith(says)


def test_iops_are_held_against_the_base_images_size_if_the_recipe_gives_none() -> None:
    greedy = world(recipe=recipe(builder={"root_volume": {"iops": 4001}}))
    assert problems(greedy) == {
        "builder.root_volume.iops": "4001 IOPS need a volume of at least 9 GiB (gp3 allows 500 for "
        "each), and this one has 8; lower iops or raise size_gib"
    }
    decide(world(recipe=recipe(builder={"root_volume": {"iops": 4000}})), force=False)
    decide(world(base=base(root_size_gib=1)), force=False)  # 3000 come with any size


def test_a_root_volume_as_large_as_the_base_is_enough() -> None:
    same = recipe(builder={"root_volume": {"size_gib": IMAGE.root_size_gib}})
    decide(world(recipe=same), force=False)


@pytest.mark.parametrize("bake", ["web-1", "a" * 80, "01234567-89ab_0.1"])
def test_an_execution_name_that_fits_a_tag_and_a_parameter_can_bake(bake: str) -> None:
    assert planning.bake_name_problem(bake) is None


@pytest.mark.parametrize("bake", ["", "a" * 81, "mañana", "a b", "a\n", "a+b", "a'b"])
def test_another_execution_name_is_refused_with_what_to_do(bake: str) -> None:
    problem = planning.bake_name_problem(bake)
    assert problem is not None
    assert "Start the execution again with a name of" in problem


# --- changed or not -----------------------------------------------------------------------------


def made_by(looked_at: World) -> Image:
    """The image that the bake of this world makes."""
    plan = decide(looked_at, force=False)
    return replace(IMAGE, id="ami-made", name=plan.image_name, tags=plan.image_tags)


def later(looked_at: World, **changes: Any) -> World:
    """The same world one bake later, its image current."""
    made = made_by(looked_at)
    known = {
        "current": Current(image=made.id, name=made.name),
        "current_image": made,
        "inputs": planning.fingerprint_of(looked_at).parts,
    }
    return replace(looked_at, bake="bake-2", **{**known, **changes})


def outcome(looked_at: World, *, force: bool = False) -> tuple[bool, str]:
    plan = decide(looked_at, force=force)
    return plan.bake_needed, plan.reason


def test_the_first_bake_is_needed() -> None:
    assert outcome(world()) == (True, "first image of this recipe")


def test_nothing_changed_means_nothing_is_baked_and_the_reason_names_the_image() -> None:
    assert outcome(later(everything())) == (False, "nothing has changed since image ami-made")


def test_force_bakes_though_nothing_has_changed_and_says_so() -> None:
    assert outcome(later(world()), force=True) == (True, "forced, though nothing has changed")


def test_a_new_base_image_is_a_reason_with_both_ids() -> None:
    assert outcome(later(world(), base=base(id="ami-new"))) == (
        True,
        f"base image {IMAGE.id} -> ami-new",
    )


def test_a_change_is_a_reason_in_words() -> None:
    steps = [{**SHELL, "shell": "apt-get upgrade"}, DOCUMENT, REBOOT]
    changed = recipe(customize=steps, opsworks="chef-12", test=[ANSWERS])
    assert outcome(later(everything(), recipe=changed)) == (
        True,
        "step 'packages' changed; step 'app' removed; opsworks changed",
    )


def test_a_change_is_a_reason_even_if_what_went_into_the_image_is_not_known() -> None:
    changed = recipe(customize=[SHELL, DOCUMENT, REBOOT], test=[ANSWERS])
    assert outcome(later(everything(), recipe=changed, inputs={})) == (
        True,
        "steps changed; applications changed",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": {"cron": "0 4 * * ? *", "max_age_days": 3650}},
        {"description": "other words"},
        {"on_failure": "keep", "keep_hours": 7},
        {"when_busy": "join"},
        {"builder": {"spot": True}},
        {"builder": {"patience_minutes": 5}},
    ],
)
def test_when_it_bakes_and_what_it_is_called_do_not_change_the_image(
    changes: dict[str, Any],
) -> None:
    assert outcome(later(world(), recipe=recipe(**changes)))[0] is False


@pytest.mark.parametrize("name", ["AmiBakery-prepare-linux", "AWS-RunPatchBaseline"])
def test_a_changed_document_is_a_reason(name: str) -> None:
    changed = {**STEPS, name: replace(STEPS[name], hash="b" * 64)}
    assert outcome(later(everything(), documents=changed)) == (True, f"document {name} changed")


def test_a_new_version_of_the_bakery_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    before = later(world())
    monkeypatch.setattr(planning, "VERSION", "99.0.0")
    assert outcome(before) == (True, f"bakery {VERSION} -> 99.0.0")


def test_all_reasons_are_told_the_base_image_first() -> None:
    changed = recipe(opsworks="none")
    assert outcome(later(world(), base=base(id="ami-new"), recipe=changed)) == (
        True,
        f"base image {IMAGE.id} -> ami-new; opsworks changed",
    )


def aging(days: int) -> Recipe:
    return recipe(schedule={"cron": "0 3 * * ? *", "max_age_days": days})


@pytest.mark.parametrize(
    ("age", "days", "needed"),
    [
        # Made at the end of the bake of a night, looked at by the start of another.
        (timedelta(days=6, hours=23), 7, True),
        (timedelta(days=7, hours=1), 7, True),
        (timedelta(days=30), 7, True),
        (timedelta(days=6, hours=1), 7, False),
        (timedelta(days=5, hours=23), 7, False),
        (timedelta(hours=23), 1, True),
        (timedelta(hours=1), 1, False),
    ],
    ids=str,
)
def test_an_image_of_the_greatest_age_is_baked_again_to_the_nearest_day(
    age: timedelta, days: int, needed: bool
) -> None:
    looked_at = later(world(recipe=aging(days)))
    assert looked_at.current_image is not None
    made = replace(looked_at.current_image, created=f"{NOW - age:%Y-%m-%dT%H:%M:%S.000Z}")
    found = outcome(replace(looked_at, current_image=made))
    assert found[0] is needed
    assert needed == found[1].startswith("image ami-made has reached schedule.max_age_days: ")


def test_age_is_told_beside_what_changed() -> None:
    """The sample's images are of the first of the month, thirty days old."""
    looked_at = later(world(recipe=aging(30)), base=base(id="ami-new"))
    assert outcome(looked_at)[1] == (
        f"base image {IMAGE.id} -> ami-new; "
        "image ami-made has reached schedule.max_age_days: 30 of 30"
    )


def test_without_a_greatest_age_no_image_is_too_old() -> None:
    looked_at = later(world())
    assert outcome(replace(looked_at, now=NOW + timedelta(days=4000)))[0] is False


def test_an_image_without_our_tags_is_baked_again() -> None:
    untagged = replace(later(world()), current_image=base(id="ami-made", tags={}))
    needed, reason = outcome(untagged)
    assert needed
    assert reason.startswith("base image unknown -> ")
    assert "recipe changed" in reason
    assert f"bakery unknown -> {VERSION}" in reason


def cut_short(looked_at: World, **changes: Any) -> World:
    """One bake later, which was stopped when it had published."""
    return replace(later(looked_at), **{"cut_short": "ABORTED", **changes})


CUT_SHORT = (
    "image ami-made was published by bake bake-1, which did not come to its end (ABORTED): it may "
    "not be published everywhere"
)


def test_an_image_whose_bake_was_stopped_is_a_reason_though_nothing_has_changed() -> None:
    assert outcome(cut_short(everything())) == (True, CUT_SHORT)


def test_an_image_to_which_somebody_rolled_back_since_is_none() -> None:
    looked_at = cut_short(world())
    assert looked_at.current_image is not None
    newer = replace(looked_at.current_image, id="ami-newer", created=f"{NOW:%Y-%m-%dT%H:%M:%SZ}")
    assert not outcome(replace(looked_at, rolled_back=newer))[0]


def test_an_earlier_rollback_does_not_hold_what_was_published_by_halves() -> None:
    looked_at = cut_short(world())
    assert looked_at.current_image is not None
    before = f"{NOW - timedelta(days=999):%Y-%m-%dT%H:%M:%SZ}"
    older = replace(looked_at.current_image, id="ami-older", created=before)
    assert outcome(replace(looked_at, rolled_back=older)) == (True, CUT_SHORT)


@pytest.mark.parametrize("state", [None, "deregistered", "disabled", "failed"])
def test_a_current_image_that_cannot_be_launched_any_more_is_replaced(state: str | None) -> None:
    before = later(world())
    assert before.current_image is not None
    gone = None if state is None else replace(before.current_image, state=state)
    assert outcome(replace(before, current_image=gone)) == (
        True,
        "the current image ami-made is no longer available",
    )


# --- the plan -----------------------------------------------------------------------------------


def commands(plan: WholePlan) -> dict[str, Command]:
    assert plan.remove_identity is not None
    return {
        "prepare": plan.prepare,
        **{command.label: command for command in plan.customize},
        "remove_identity": plan.remove_identity,
        "generalize": plan.generalize,
        "verify_identity": plan.verify_identity,
        **{command.label: command for command in plan.test.checks},
    }


def test_every_document_of_the_bake_is_pinned_by_version_and_hash() -> None:
    versions = {
        name: replace(found, version=str(n), hash=str(n) * 64)
        for n, (name, found) in enumerate(STEPS.items())
    }
    plan = decide(everything(documents=versions), force=False)
    for command in commands(plan).values():
        pinned = versions[command.document]
        assert (command.version, command.hash) == (pinned.version, pinned.hash)


def test_each_stage_runs_its_own_document() -> None:
    ran = {stage: c.document for stage, c in commands(decide(everything(), force=False)).items()}
    assert ran == {
        "prepare": "AmiBakery-prepare-linux",
        "Step 'packages'": "AmiBakery.web.packages",
        "Step 'patch'": "AWS-RunPatchBaseline",
        "Step 'kernel'": "AmiBakery-reboot-linux",
        "Step 'app'": "AmiBakery-install-application",
        "remove_identity": "AmiBakery-remove-opsworks-identity",
        "generalize": "AmiBakery-generalize-linux",
        "verify_identity": "AmiBakery-verify-identity",
        "Test 'it has come up'": "AmiBakery-test-image",
        "Test 'it tells its identity'": "AmiBakery-report-identity",
        "Test 'it lists its packages'": "AmiBakery-report-packages",
        "Test 'answers'": "AmiBakery.web.test.answers",
    }


def test_the_steps_keep_their_order_and_time_budget() -> None:
    steps = [{**REBOOT, "name": "b", "timeout_seconds": 99}, {**REBOOT, "name": "a"}]
    plan = decide(everything(recipe=recipe(customize=steps)), force=False)
    assert [(c.label, c.timeout_seconds) for c in plan.customize] == [
        ("Step 'b'", 99),
        ("Step 'a'", 3600),
    ]


def test_success_of_our_documents_is_believed_only_with_their_last_line() -> None:
    lines = {stage: c.sentinel for stage, c in commands(decide(everything(), force=False)).items()}
    assert lines.pop("Step 'packages'") == lines.pop("Step 'patch'") == ""
    # Systems Manager shows less of a list of packages than there is: its task looks into the log.
    assert lines.pop("Test 'answers'") == lines.pop("Test 'it lists its packages'") == ""
    assert set(lines.values()) == {"ami-bakery: bake-1 done"}


def test_what_the_recipe_chooses_reaches_the_documents_that_need_it() -> None:
    chosen = recipe(
        lock_release="2018.03",
        tmp_exec="bake",
        opsworks={"past": "chef-11", "keep": ["users", "motd"]},
        identity={"keep": ["logs"], "apt_timers": "disable", "allow_secrets": ["/etc/ssl/private"]},
    )
    plan = decide(world(recipe=chosen), force=False)
    bake, lock, past = (
        {"Bake": ("bake-1",)},
        {"LockRelease": ("2018.03",)},
        {"Opsworks": ("chef-11",)},
    )
    assert plan.prepare.parameters == {**bake, **lock, "TmpExec": ("bake",)}
    assert plan.remove_identity is not None
    assert plan.remove_identity.parameters == {**bake, **past, "Keep": ("users,motd",)}
    assert plan.generalize.parameters == {**bake, "AptTimers": ("disable",), "Keep": ("logs",)}
    assert plan.verify_identity.parameters == {
        **bake,
        **lock,
        **past,
        "Keep": ("users,motd,logs",),
        "AllowSecrets": ("/etc/ssl/private",),
    }
    up, identity, packages = plan.test.checks
    assert up.parameters == {**bake, **lock}
    assert identity.parameters == packages.parameters == bake


def test_without_a_lock_the_documents_default_stays() -> None:
    plan = decide(world(), force=False)
    assert "LockRelease" not in plan.prepare.parameters
    assert "LockRelease" not in plan.verify_identity.parameters
    assert "LockRelease" not in plan.test.checks[0].parameters


@pytest.mark.parametrize(
    "opsworks",
    ["auto", "chef-11", "chef-12", "none", {"keep": ["users", "app-secrets"]}],
)
@pytest.mark.parametrize("lock", [None, "2018.03", "2023.6.20250115"])
def test_the_real_documents_accept_what_plan_sends(opsworks: object, lock: str | None) -> None:
    plan = decide(world(recipe=recipe(opsworks=opsworks, lock_release=lock)), force=False)
    for command in commands(plan).values():
        stem = command.document.removeprefix(fixed_document(""))
        sent = {name: list(values) for name, values in command.parameters.items()}
        assert parameter_problems(load_document(DOCUMENTS / f"{stem}.yaml"), sent) == []


def test_documents_of_a_recipe_are_listed_once_each() -> None:
    steps = [DOCUMENT, {**DOCUMENT, "name": "again"}, REBOOT, SHELL]
    twice = recipe(customize=steps, test=[ANSWERS])
    assert planning.documents_of("web", twice) == [
        "AmiBakery-prepare-linux",
        "AmiBakery-remove-opsworks-identity",
        "AmiBakery-generalize-linux",
        "AmiBakery-verify-identity",
        "AmiBakery-test-image",
        "AmiBakery-report-identity",
        "AmiBakery-report-packages",
        "AWS-RunPatchBaseline",
        "AmiBakery-reboot-linux",
        "AmiBakery.web.packages",
        "AmiBakery.web.test.answers",
    ]


def test_the_image_carries_name_recipe_bake_base_and_fingerprint() -> None:
    tags = decide(world(), force=False).image_tags
    assert set(tags) == {
        "Name",
        "ami-bakery:recipe",
        "ami-bakery:bake",
        "ami-bakery:base-image",
        "ami-bakery:fingerprint",
    }
    assert tags["Name"] == "web-20260131T030000Z"
    assert tags["ami-bakery:bake"] == "bake-1"
    assert tags[TAG_BASE_IMAGE] == IMAGE.id
    assert len(tags[TAG_FINGERPRINT]) <= 256


def test_the_builder_starts_with_the_recipes_volume_and_the_deployments_places() -> None:
    two = (
        Subnet("subnet-2", "eu-west-1b", public=False),
        Subnet("subnet-1", "eu-west-1a", public=True),
    )
    volume = {"size_gib": 20, "iops": 6000, "throughput": 500}
    launch = decide(
        world(
            recipe=recipe(builder={"root_volume": volume, "public_address": True}),
            subnets=two,
            instance_types=("m3.medium", "t3.medium"),
            known_types={"t3.medium": NITRO, "m3.medium": XEN},
        ),
        force=False,
    ).launch
    assert launch.instance_types == ("m3.medium", "t3.medium")
    assert launch.subnets == two
    assert (launch.size_gib, launch.iops, launch.throughput) == (20, 6000, 500)
    assert launch.instance_profile.endswith("/builder")
    assert decide(world(subnets=two), force=False).launch.subnets == two[:1]


def test_a_recipe_without_a_size_takes_the_base_images() -> None:
    plan = decide(world(base=base(root_size_gib=30)), force=False)
    assert plan.launch.size_gib == plan.base_image.size_gib == 30
    assert plan.base_image.root_device == IMAGE.root_device_name


def test_the_plan_prices_every_type_and_estimates_by_the_first() -> None:
    types = {"m3.medium": replace(XEN, vcpus=8), "t3.medium": NITRO}
    looked_at = world(instance_types=tuple(types), known_types=types)
    dear = decide(looked_at, force=False)
    cheap = decide(replace(looked_at, instance_types=("t3.medium", "m3.medium")), force=False)
    assert dear.usd_per_hour == cheap.usd_per_hour
    assert set(dear.usd_per_hour) == set(types)
    assert dear.estimate.usd > cheap.estimate.usd


def test_a_plan_survives_the_way_through_the_execution() -> None:
    plan = decide(everything(), force=False)
    assert WholePlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_plan_carries_no_script() -> None:
    step = {"name": "x", "shell": "echo VERY-LONG-SCRIPT"}
    own = documents(document("AmiBakery.web.x"))
    plan = decide(world(recipe=recipe(customize=[step]), documents=own), force=False)
    assert "VERY-LONG-SCRIPT" not in plan.model_dump_json()


# --- tests of the image ---------------------------------------------------------------------------


def machines(plan: WholePlan) -> list[tuple[str, ...]]:
    return [machine.instance_types for machine in plan.test.machines]


def checks(plan: WholePlan) -> list[str]:
    return [check.label for check in plan.test.checks]


KNOWN = {"t3.medium": NITRO, "m3.medium": XEN}


def test_two_instances_of_the_image_are_booted_where_a_builder_would_be_and_compared() -> None:
    plan = decide(world(instance_types=tuple(KNOWN), known_types=KNOWN), force=False)
    assert machines(plan) == [("t3.medium", "m3.medium")] * 2
    assert plan.test.compare == 1
    assert plan.test.checks[1].document == "AmiBakery-report-identity"


def test_without_comparison_one_instance_is_enough_and_nothing_is_reported() -> None:
    plan = decide(world(recipe=recipe(test={"identity": False})), force=False)
    assert machines(plan) == [("t3.medium",)]
    assert checks(plan) == ["Test 'it has come up'", "Test 'it lists its packages'"]
    assert plan.test.compare is None


def test_every_type_to_be_tested_has_an_instance_and_the_first_of_them_its_twin_before() -> None:
    """The two that are compared are numbers 1 and 2, and of one type."""
    wanted = recipe(test={"instance_types": ["m3.medium", "t3.medium"]})
    plan = decide(world(recipe=wanted, known_types=KNOWN), force=False)
    assert machines(plan) == [("m3.medium",), ("m3.medium",), ("t3.medium",)]


def test_every_type_to_be_tested_has_one_instance_if_none_are_compared() -> None:
    wanted = recipe(test={"instance_types": ["m3.medium", "t3.medium"], "identity": False})
    plan = decide(world(recipe=wanted, known_types=KNOWN), force=False)
    assert machines(plan) == [("m3.medium",), ("t3.medium",)]


def test_our_checks_come_before_those_of_the_recipe_which_keep_their_order() -> None:
    steps = [{**ANSWERS, "name": "b", "timeout_seconds": 99}, {**ANSWERS, "name": "a"}]
    own = [document(f"AmiBakery.web.test.{name}") for name in "ab"]
    plan = decide(world(recipe=recipe(test=steps), documents=documents(*own)), force=False)
    assert checks(plan) == [
        "Test 'it has come up'",
        "Test 'it tells its identity'",
        "Test 'it lists its packages'",
        "Test 'b'",
        "Test 'a'",
    ]
    assert [check.timeout_seconds for check in plan.test.checks[3:]] == [99, 3600]
    assert all(check.parameters == {} for check in plan.test.checks[3:])


def test_test_instances_have_a_profile_of_their_own() -> None:
    plan = decide(world(), force=False)
    assert plan.test.instance_profile.endswith("/test")
    assert plan.launch.instance_profile.endswith("/builder")


def test_a_type_that_is_only_tested_has_its_price_and_makes_the_bake_dearer() -> None:
    dear = replace(XEN, vcpus=64)
    wanted = recipe(test={"instance_types": ["m3.medium"]})
    plain = decide(world(), force=False)
    plan = decide(world(recipe=wanted, known_types={**KNOWN, "m3.medium": dear}), force=False)
    assert set(plan.usd_per_hour) == {"t3.medium", "m3.medium"}
    assert plan.launch.instance_types == ("t3.medium",)
    assert plan.estimate.usd > plain.estimate.usd
    assert plan.estimate.minutes == plain.estimate.minutes


# --- Regions, pointers, launch templates ----------------------------------------------------------


DISTRIBUTED = {
    "distribute": [
        {"region": "us-east-1", "launch_templates": ["lt-00000003"]},
        {"region": "eu-west-1", "kms_key": "alias/home", "launch_templates": ["lt-00000002"]},
        {"region": "eu-central-1", "kms_key": "alias/away"},
    ],
    "publish": {"labels": ["canary", "stable"], "launch_templates": ["lt-00000001"]},
}


def test_the_image_is_in_the_region_of_the_stack_whether_the_recipe_names_it_or_not() -> None:
    assert [it.region for it in decide(world(), force=False).places] == ["eu-west-1"]
    plan = decide(world(recipe=recipe(**DISTRIBUTED)), force=False)
    assert [it.region for it in plan.places] == ["eu-west-1", "us-east-1", "eu-central-1"]


def test_every_region_has_the_pointer_and_every_label() -> None:
    assert [(it.region, it.name) for it in decide(world(), force=False).pointers] == [
        ("eu-west-1", "/ami-bakery/web/image")
    ]
    plan = decide(world(recipe=recipe(**DISTRIBUTED)), force=False)
    assert [(it.region, it.name) for it in plan.pointers] == [
        (region, f"/ami-bakery/web/{name}")
        for region in ("eu-west-1", "us-east-1", "eu-central-1")
        for name in ("image", "labels/canary", "labels/stable")
    ]


def test_launch_templates_are_each_in_the_region_that_names_them() -> None:
    assert decide(world(), force=False).templates == ()
    plan = decide(world(recipe=recipe(**DISTRIBUTED)), force=False)
    assert [(it.region, it.id) for it in plan.templates] == [
        ("eu-west-1", "lt-00000001"),
        ("us-east-1", "lt-00000003"),
        ("eu-west-1", "lt-00000002"),
    ]


def test_the_key_of_the_region_of_the_stack_encrypts_the_builders_volumes() -> None:
    """CreateImage has no key of its own: the image has that of its volumes."""
    assert decide(world(recipe=recipe(**DISTRIBUTED)), force=False).launch.kms_key == "alias/home"
    assert decide(world(), force=False).launch.kms_key == ""


def test_what_a_recipe_says_of_a_region_is_found_by_its_name() -> None:
    named = recipe(**DISTRIBUTED)
    assert planning.destination(named, "eu-central-1").kms_key == "alias/away"
    unnamed = planning.destination(recipe(), "eu-west-1")
    assert (unnamed.kms_key, unnamed.shared) == (None, False)


# --- the size of the state -----------------------------------------------------------------------

LONGEST = "arn:aws-us-gov:ssm:us-gov-east-1:111122223333:document/".ljust(128, "d")


def with_long_names(parameters: Mapping[str, str]) -> World:
    """As many steps as a recipe may have, every name as long as it may be."""
    steps = [
        {
            "name": f"{number:03}{'n' * 57}",
            "document": LONGEST,
            "parameters": parameters,
            "timeout_seconds": 1200,
        }
        for number in range(200)
    ]
    types = tuple(f"t{number}-long.24xlarge" for number in range(10))
    tests: list[dict[str, Any]] = [
        {"name": f"{number:02}{'n' * 58}", "shell": "true", "timeout_seconds": 60}
        for number in range(50)
    ]
    regions = [f"ap-southeast-{number}" for number in range(10)]
    regions += [f"us-gov-{chr(97 + number) * 7}-1" for number in range(26)]
    regions += [f"us-gov-{chr(97 + number) * 6}-1" for number in range(3)]
    return world(
        name="r" * 48,
        bake="b" * 80,
        recipe=recipe(
            description="d" * 255,
            image_name="i" * 128,
            customize=steps,
            identity={"allow_secrets": [f"/srv/{number}" for number in range(30)]},
            test={"steps": tests, "instance_types": types[:5]},
            # As many pointers and launch templates as all Regions may have together.
            distribute=[{"region": it, "launch_templates": ["lt-" + "a" * 17]} for it in regions],
            publish={
                "labels": ["x" * 32, "y" * 32],
                "launch_templates": [f"lt-{number:017}" for number in range(20)],
            },
        ),
        documents=documents(
            document(LONGEST, dict.fromkeys(parameters, NEEDED)),
            *(document(naming.test_document("r" * 48, test["name"])) for test in tests),
        ),
        instance_types=types,
        known_types={name: replace(NITRO, name=name) for name in types},
        subnets=tuple(Subnet(f"subnet-{n:017}", "us-gov-east-1a", public=False) for n in range(6)),
        # As many as fit into a function's variables; see infra/settings.py.
        tags={f"{n:02}{'k' * 30}": "v" * 62 for n in range(20)},
    )


def test_the_worst_names_fit_into_an_execution_and_the_commands_into_an_item_of_the_table() -> None:
    # As long as parameters can be: a recipe has a limit of its own, which is less.
    whole = decide(with_long_names({"Values": "x" * 600}), force=True)
    plan = Plan.model_validate(whole.model_dump())
    travels = size_of(plan.model_dump(mode="json"))
    assert 30_000 < travels < MAX_STATE_BYTES * 0.75
    # With a failure for every copy, and what the other stages leave.
    failed = [verdicts.copied(it.region, None, failed="x" * 999).output for it in plan.places]
    others = {stage: {"entered": NOW.isoformat()} for stage in stages.STAGES}
    assert travels + size_of(failed) + size_of(others) < MAX_STATE_BYTES
    commands = [command.model_dump(mode="json") for command in whole.customize]
    assert 150_000 < size_of(commands) < 400_000 * 0.9
    tests = [command.model_dump(mode="json") for command in whole.test.checks]
    assert len(tests) == 53 and size_of(tests) < 400_000 * 0.9


def test_what_travels_has_the_names_of_the_steps_only() -> None:
    whole = decide(everything(), force=False)
    plan = Plan.model_validate(whole.model_dump())
    assert [step.model_dump() for step in plan.customize] == [
        {"label": command.label} for command in whole.customize
    ]
    assert [step.model_dump() for step in plan.test.checks] == [
        {"label": command.label} for command in whole.test.checks
    ]


TAGS = {"CostCenter": "1234", "Owner": "Platform team"}


def test_the_deployments_tags_go_to_all_that_is_created() -> None:
    plan = decide(world(tags=TAGS), force=False)
    assert plan.launch.tags == TAGS
    assert plan.image_tags == {**TAGS, **decide(world(), force=False).image_tags}


def test_other_tags_make_no_other_image() -> None:
    """What is there can be tagged where it is; nothing of it would be another."""
    made = decide(world(), force=False)
    before = replace(IMAGE, id="ami-current", tags=made.image_tags)
    current = Current(image=before.id, name=before.name)
    plan = decide(world(tags=TAGS, current=current, current_image=before), force=False)
    assert (plan.bake_needed, plan.reason) == (
        False,
        "nothing has changed since image ami-current",
    )


def test_a_plan_of_an_earlier_release_has_no_tags() -> None:
    """A bake under way goes on with it."""
    content = Plan.model_validate(decide(world(tags=TAGS), force=False).model_dump()).model_dump()
    del content["launch"]["tags"]
    assert Plan.model_validate(content).launch.tags == {}
