"""The bugs: each is a change of one place, and the tests that should notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """``old`` occurs once in ``file``; ``tests`` are arguments of pytest."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_TASKS, _JOBS = "functions/bakery/tasks", "functions/bakery/jobs"
_OF = "tests/functional/tasks"
_LAUNCH = (f"{_OF}/test_launch_builder.py",)
_CLEAN = (f"{_OF}/test_clean_up.py",)
_IMAGE = (f"{_OF}/test_create_image.py",)
_PLAN = (f"{_OF}/test_plan.py",)
_STEP = (f"{_OF}/test_run_step.py",)
_STOP = (f"{_OF}/test_stop_builder.py",)
_JANITOR = ("tests/functional/jobs/test_remove_orphans.py",)
_SWEEPER = ("tests/functional/jobs/test_resume_waits.py",)
_REQUESTS = ("tests/infra/test_simulated_requests.py",)
_MACHINE = ("tests/infra/test_machine.py",)
_HOSTILE = ("tests/unit/test_hostile.py",)
_WRONG = ("tests/unit/test_invalid_input.py",)

BUGS = (
    # Done twice
    Bug(
        "no client token of ours",
        "functions/bakery/aws/ec2.py",
        '"ClientToken": spec.client_token,',
        '"ClientToken": __import__("uuid").uuid4().hex,',
        _LAUNCH,
    ),
    Bug(
        "one client token for all places",
        f"{_TASKS}/launch_builder.py",
        "request.bake, launch.attempt, cell.market, cell.instance_type, cell.subnet.id",
        "request.bake, launch.attempt",
        _LAUNCH,
    ),
    Bug(
        "no adoption of the builder",
        f"{_TASKS}/launch_builder.py",
        "if it.attempt == request.launch.attempt and _is_ours(it, request):",
        "if it.attempt == 0:",
        _LAUNCH,
    ),
    Bug(
        "whoever may tag makes a builder",
        f"{_TASKS}/launch_builder.py",
        "return of_image and builder.profile == request.launch.instance_profile",
        "return of_image",
        _LAUNCH,
    ),
    Bug(
        "a rollback to an image that no bake has published",
        "functions/bakery/jobs/move_pointer.py",
        "if image not in ssm.images_ever(list(held)):",
        "if not image:",
        ("tests/functional/jobs/test_move_pointer.py",),
    ),
    Bug(
        "no attempt in the client token",
        f"{_TASKS}/launch_builder.py",
        "request.bake, launch.attempt, cell.market, cell.instance_type",
        "request.bake, cell.market, cell.instance_type",
        (*_LAUNCH, f"{_OF}/test_replace_builder.py"),
    ),
    Bug(
        "a stop is Sysprep's whoever stopped the builder",
        "functions/bakery/sysprep.py",
        "    if builder.reason_code != _BY_ITSELF:\n",
        "    if False:\n",
        tests=("tests/unit/test_sysprep.py",),
    ),
    Bug(
        "a stop is Sysprep's without its mark",
        "functions/bakery/sysprep.py",
        "    if began:\n",
        "    if True:\n",
        tests=("tests/unit/test_sysprep.py",),
    ),
    Bug(
        "no adoption of the command",
        "functions/bakery/commands.py",
        "ssm.find_command(request.instance_id, comment) or ",
        "",
        _STEP,
    ),
    Bug(
        "commands of two steps are taken for one",
        "functions/bakery/commands.py",
        'return f"{bake}/{stage}/{index}"',
        'return f"{bake}/{stage}"',
        _STEP,
    ),
    Bug(
        "no adoption of the image",
        f"{_TASKS}/create_image.py",
        "return next(made, None)",
        "return None",
        _IMAGE,
    ),
    Bug(
        "an image is adopted by its name alone",
        f"{_TASKS}/create_image.py",
        "if image.tags.get(TAG_BAKE) != request.bake:\n            continue",
        "if image.id:\n            return image.id",
        _IMAGE,
    ),
    Bug(
        "an end is told by everybody who hears of it",
        f"{_JOBS}/announce_bake.py",
        "days=_MARK_DAYS) != me:",
        'days=_MARK_DAYS) == "":',
        ("tests/functional/jobs/test_announce_bake.py",),
    ),
    Bug(
        "a slot is not claimed",
        f"{_TASKS}/plan.py",
        "if plan.bake_needed and wanted.slot:",
        "if plan.bake_needed and not wanted:",
        _PLAN,
    ),
    Bug(
        "a recipe that was published by halves stays so",
        f"{_TASKS}/plan.py",
        "    return found.status\n",
        '    return ""\n',
        _PLAN,
    ),
    Bug(
        "a late slot is baked",
        "functions/bakery/slots.py",
        "if late <= LATEST:",
        "if late:",
        ("tests/unit/test_slots.py",),
    ),
    Bug("no lease", f"{_TASKS}/plan.py", "leases.take(", "leases.give_back(", _PLAN),
    # Waits
    Bug(
        "a task does not look after it has stored its wait",
        "functions/bakery/waiting.py",
        "    table.store_wait(table_name, wait)\n    settle(table_name, wait)\n",
        "    table.store_wait(table_name, wait)\n",
        _STEP,
    ),
    Bug(
        "a settled wait is not forgotten",
        "functions/bakery/waiting.py",
        "    table.forget_wait(table_name, wait)\n    return True",
        "    return True",
        _SWEEPER,
    ),
    Bug(
        "a newer token is forgotten with the old wait",
        "functions/bakery/aws/table.py",
        'ConditionExpression="#token = :token",',
        'ConditionExpression="#token = :token OR attribute_exists(id)",',
        _SWEEPER,
    ),
    Bug(
        "no wait has a deadline",
        "functions/bakery/verdicts.py",
        "if now < wait.deadline:",
        "if wait.deadline:",
        _SWEEPER,
    ),
    Bug(
        "one broken wait stops the sweeper",
        f"{_JOBS}/resume_waits.py",
        "        except BakeryError as error:\n",
        "        except KeyError as error:\n",
        _SWEEPER,
    ),
    Bug(
        "an event is believed without a look",
        "functions/bakery/verdicts.py",
        '    if builder.state != "stopped":\n        return None\n',
        "",
        _STOP,
    ),
    Bug(
        "a retry predicate that never fires",
        "infra/states.py",
        "errors: Sequence[str] = (*RETRYABLE, *LAMBDA_RETRYABLE),",
        'errors: Sequence[str] = ("Never",),',
        _MACHINE,
    ),
    Bug(
        "a throttled call is final",
        "functions/bakery/aws/failures.py",
        '    "RequestLimitExceeded",\n',
        "",
        ("tests/unit/aws/test_failures.py",),
    ),
    Bug(
        "the SDK asks a full zone again and again",
        "functions/bakery/aws/ec2.py",
        "clients.ec2_one_try().run_instances(",
        "clients.ec2().run_instances(",
        _LAUNCH,
    ),
    Bug(
        "a failed stage passes clean up by",
        "infra/machine.py",
        "return self._states.guarded(steps, on_builder=True)",
        "return steps",
        _MACHINE,
    ),
    # What is believed
    Bug(
        "success is believed without the last line",
        "functions/bakery/verdicts.py",
        "if wait.sentinel and wait.sentinel not in seen.stdout.splitlines():",
        "if wait.sentinel and wait.sentinel in wait.bake:",
        ("tests/unit/test_verdicts.py",),
    ),
    Bug(
        "a document is not pinned",
        "functions/bakery/aws/ssm.py",
        '                DocumentHash=content_hash,\n                DocumentHashType="Sha256",\n',
        "",
        _STEP,
    ),
    Bug(
        "a running builder is imaged",
        f"{_TASKS}/create_image.py",
        'if builder is None or builder.state != "stopped":',
        "if builder is None:",
        _IMAGE,
    ),
    Bug(
        "the pointer moves before the image is there",
        "infra/machine.py",
        ".next(proof)\n            .next(release)\n            .next(publish)\n",
        ".next(publish)\n            .next(proof)\n            .next(release)\n",
        _MACHINE,
    ),
    Bug(
        "a failed test passes clean up by",
        "infra/machine.py",
        "return self._states.guarded(proof)",
        "return proof",
        _MACHINE,
    ),
    Bug(
        "copies are made one after the other, for longer than a bake may take",
        "infra/machine.py",
        "max_concurrency=_COPIES_AT_ONCE",
        "max_concurrency=1",
        _MACHINE,
    ),
    Bug(
        "a failed copy is published without",
        "functions/bakery/verdicts.py",
        "if isinstance(verdict, Failed) and wait.optional:",
        "if isinstance(verdict, Failed) and wait.region:",
        ("tests/unit/test_verdicts.py",),
    ),
    Bug(
        "the two that are compared are of different types",
        "functions/bakery/planning.py",
        "for it in [*twin, *machines]),",
        "for it in [*machines, *twin]),",
        ("tests/unit/test_planning.py",),
    ),
    Bug(
        "a pointer that cannot be put fails the bake while another is under way",
        "functions/bakery/publishing.py",
        "if under_way and age < BUDGET + LAST_LOOKS:",
        "if under_way and age < BUDGET + LAST_LOOKS and not errors:",
        ("tests/functional/tasks/test_publish_pointers.py",),
    ),
    Bug(
        "the last try puts a pointer and gives up what it has put",
        "functions/bakery/publishing.py",
        "if age < BUDGET:\n            _put(move)",
        "if True:\n            _put(move)",
        ("tests/functional/tasks/test_publish_pointers.py",),
    ),
    Bug(
        "a pointer that cannot be looked at is given up while it is under way",
        "functions/bakery/publishing.py",
        "return age < LAST_LOOKS, error",
        "return False, error",
        ("tests/functional/tasks/test_publish_pointers.py",),
    ),
    Bug(
        "a pointer whose answer was lost is given up while it is under way",
        "functions/bakery/publishing.py",
        "return isinstance(error, ServiceUnavailableError), error",
        "return False, error",
        ("tests/functional/tasks/test_publish_pointers.py",),
    ),
    Bug(
        "a failed clean up makes FailBake take a failure for a redrive",
        "infra/machine.py",
        'input_path="$$.Execution.RedriveCount", result_path="$.redrives"',
        'input_path="$$.Execution.RedriveCount", result_path="$.counted"',
        ("tests/infra/test_machine.py",),
    ),
    Bug(
        "an image is adopted though its builder was started before it was made",
        "functions/bakery/tasks/create_image.py",
        "if again and builder and builder.launched",
        "if False and builder and builder.launched",
        ("tests/functional/tasks/test_create_image.py",),
    ),
    Bug(
        "a retry goes on after pointers that clean up has moved back",
        "functions/bakery/resuming.py",
        "begin = _PUBLISHED[0] if stage in _PUBLISHED else stage",
        "begin = stage",
        ("tests/unit/test_resuming.py",),
    ),
    Bug(
        "any launch template may be changed",
        "infra/permissions.py",
        "resources=sorted(named)",
        "resources=[self._arn('ec2', 'launch-template', '*')]",
        ("tests/infra/test_stack.py",),
    ),
    Bug(
        "a copy without the bake's tag is allowed",
        "infra/permissions.py",
        'actions=["ec2:CopyImage"], resources=self._images(), conditions=_TAGGED_NOW',
        'actions=["ec2:CopyImage"], resources=self._images()',
        ("tests/infra/test_stack.py",),
    ),
    Bug(
        "a disk in the clear may be launched",
        "infra/permissions.py",
        '["volume/*"], {**_TAGGED_NOW, **encrypted}',
        '["volume/*"], _TAGGED_NOW',
        _REQUESTS,
    ),
    Bug(
        "a test instance may be of any image",
        "infra/permissions.py",
        "conditions=_OURS if test else None",
        "conditions=None",
        _REQUESTS,
    ),
    Bug(
        "a snapshot may be shown to everybody",
        "infra/permissions.py",
        'conditions={**_OURS, "StringNotEquals": {"ec2:Add/group": "all"}}',
        "conditions=_OURS",
        _REQUESTS,
    ),
    Bug(
        "a refusal to delete what is gone is final",
        "functions/bakery/aws/failures.py",
        'if code_of(error) != "UnauthorizedOperation":',
        "if True:",
        ("tests/unit/aws/test_failures.py",),
    ),
    Bug(
        "a builder without IMDSv2",
        "functions/bakery/aws/ec2.py",
        '"HttpTokens": "required"',
        '"HttpTokens": "optional"',
        ("tests/functional/test_bake.py",),
    ),
    # Left behind
    Bug(
        "clean up forgets the images of a failed bake",
        f"{_TASKS}/clean_up.py",
        '            yield Look(f"images in {region}", find, region, pointed_to=True)\n',
        "",
        _CLEAN,
    ),
    Bug(
        "clean up leaves the pointer where it is",
        f"{_TASKS}/clean_up.py",
        '        yield Look(what, find, region, service="ssm", points=points)\n',
        "",
        _CLEAN,
    ),
    Bug(
        "clean up removes an image that a template still points to",
        f"{_TASKS}/clean_up.py",
        "        if look.points and errors:\n",
        "        if look.points and errors and look.service == 'ssm':\n",
        _CLEAN,
    ),
    Bug(
        "clean up leaves a kept image to those that it was shared with",
        f"{_TASKS}/clean_up.py",
        "        if stages.copies(state) and ec2.is_shared(image.id, region=region):\n",
        "        if False:\n",
        _CLEAN,
    ),
    Bug(
        "clean up removes an image that is the previous one of a later bake",
        f"{_TASKS}/clean_up.py",
        "    kept = {*results, _current(state, region), *held.values()}\n",
        "    kept = {*results, _current(state, region)}\n",
        _CLEAN,
    ),
    Bug(
        "a late redrive moves the pointer back under a bake that runs",
        f"{_TASKS}/clean_up.py",
        "    if failed and not others:\n",
        "    if failed:\n",
        _CLEAN,
    ),
    Bug(
        "a late redrive deletes an image that was published for days",
        f"{_TASKS}/clean_up.py",
        "    kept |= _in_use(state, region, others=others)\n",
        "",
        _CLEAN,
    ),
    Bug(
        "clean up deletes the image of a good bake",
        f"{_TASKS}/clean_up.py",
        "results = set() if failed else {it.image_id for it in copies}",
        "results = set()",
        _CLEAN,
    ),
    Bug(
        "clean up stops at the first error",
        f"{_TASKS}/clean_up.py",
        '            logger.exception("could not remove", what=what)\n',
        "            raise\n",
        _CLEAN,
    ),
    Bug(
        "clean up leaves the spot request, which launches another builder",
        f"{_TASKS}/clean_up.py",
        '    yield Look("spot requests", lambda: _spot_requests(bake), home)\n',
        "",
        _CLEAN,
    ),
    Bug(
        "clean up moves the pointer back and leaves the previous one",
        f"{_TASKS}/clean_up.py",
        "            _restore_previous(recipe, region, before)\n",
        "            pass\n",
        _CLEAN,
    ),
    Bug(
        "clean up keeps the lease",
        f"{_TASKS}/clean_up.py",
        "    leases.give_back(table_name, _recipe(request.state), request.execution)\n"
        "    return Result(removed=tuple(done.removed), left=done.left)",
        "    return Result(removed=tuple(done.removed), left=done.left)",
        _CLEAN,
    ),
    Bug(
        "a lease of a dead bake blocks for ever",
        "functions/bakery/leases.py",
        "if not stepfunctions.is_running(holder) and table.take_over(",
        "if not holder and table.take_over(",
        _PLAN,
    ),
    # The janitor
    Bug(
        "the janitor takes a failed read for an empty account",
        "functions/bakery/aws/inventory.py",
        "        yield from paginator.paginate(**request)\n",
        "        try:\n            yield from paginator.paginate(**request)\n"
        "        except Exception:\n            return\n",
        _JANITOR,
    ),
    Bug(
        "the janitor takes a builder that was started again for one of another day",
        "functions/bakery/aws/inventory.py",
        "return min(attached, default=launched)",
        "return launched",
        _JANITOR,
    ),
    Bug(
        "the janitor removes what it cannot attribute",
        "functions/bakery/orphans.py",
        "    if execution.recipe != item.recipe:\n",
        "    if execution.recipe == '':\n",
        (*_JANITOR, "tests/unit/test_orphans.py"),
    ),
    Bug(
        "the janitor ends running bakes",
        "functions/bakery/orphans.py",
        "    if execution.ended is None:\n        return False\n",
        "    if execution.ended is None:\n        return True\n",
        (*_JANITOR, "tests/unit/test_orphans.py"),
    ),
    Bug(
        "the janitor removes what is published",
        "functions/bakery/orphans.py",
        "if item.id in published or (",
        "if not item.id or (",
        (*_JANITOR, "tests/unit/test_orphans.py"),
    ),
    Bug(
        "the janitor knows no limit",
        f"{_JOBS}/remove_orphans.py",
        "        if len(removed) == most:\n",
        "        if len(removed) == -1:\n",
        _JANITOR,
    ),
    Bug(
        "the janitor does not hear of aborted bakes",
        "infra/jobs.py",
        'janitor, _ends_of(machine, "ABORTED", "TIMED_OUT")',
        'janitor, _ends_of(machine, "SUCCEEDED")',
        _JANITOR,
    ),
    Bug(
        "a kept builder is removed at once",
        f"{_JOBS}/remove_orphans.py",
        "    tagged = [it for it in tagged if it.bake not in kept]\n",
        "",
        ("tests/functional/test_retry.py",),
    ),
    Bug(
        "the janitor reads who is kept before who has ended",
        f"{_JOBS}/remove_orphans.py",
        "    executions = _executions(settings, names)\n"
        "    # After the executions: a hold is made before the end of its bake, which may "
        "just have come.\n    kept = holds.kept_bakes(settings.table)\n",
        "    kept = holds.kept_bakes(settings.table)\n"
        "    executions = _executions(settings, names)\n",
        _JANITOR,
    ),
    Bug(
        "the janitor gives back the lease of a redriven bake",
        f"{_JOBS}/remove_orphans.py",
        "        if not stepfunctions.is_running(holder):\n            leases",
        "        if holder:\n            leases",
        _JANITOR,
    ),
    Bug(
        "the janitor forgets the new wait of a redriven bake",
        f"{_JOBS}/remove_orphans.py",
        "    for wait in ended.waits:\n        table",
        "    for wait in map(waits.read, dict(table.open_waits(settings.table)).values()):\n"
        "        table",
        _JANITOR,
    ),
    # What is told
    Bug(
        "the failure of clean up hides the first error",
        "functions/bakery/failures.py",
        'caught = state["failure"]',
        'caught = state.get("clean_up_failure") or state["failure"]',
        (f"{_OF}/test_fail_bake.py",),
    ),
    Bug(
        "an end that Step Functions did not answer to is told under its own name",
        "functions/bakery/tasks/fail_bake.py",
        'raise EndNotToldError(f"{error}. It is: {what}") from error',
        "raise",
        (f"{_OF}/test_fail_bake.py",),
    ),
    Bug(
        "a retry puts an older image in place of a newer",
        "functions/bakery/resuming.py",
        'if current != state["plan"]["current"]["image"]:',
        'if current == "":',
        ("tests/unit/test_resuming.py", "tests/functional/test_retry.py"),
    ),
    Bug(
        "a late redrive puts an older image in place of a newer",
        "functions/bakery/redriving.py",
        "    if now not in (it.before, it.copies[0].image_id):\n",
        "    if now == '':\n",
        (f"{_OF}/test_publish_pointers.py",),
    ),
    # Hostile texts
    Bug(
        "hostile: digits of any script",
        "functions/bakery/formats.py",
        'REGION = Format(r"^[a-z]{2,4}(-[a-z]+)+-[0-9]$"',
        'REGION = Format(r"^[a-z]{2,4}(-[a-z]+)+-\\d$"',
        _WRONG,
    ),
    Bug(
        "hostile: errors quote line ends",
        "functions/bakery/problems.py",
        'return one_line(f"{self.path}: {self.message}" if self.path else self.message)',
        'return f"{self.path}: {self.message}" if self.path else self.message',
        _HOSTILE,
    ),
    Bug(
        "hostile: references of CloudFormation",
        "functions/bakery/texts.py",
        '((_REFERENCE, "CloudFormation"), (_TOKEN, "the CDK"))',
        '((_TOKEN, "the CDK"),)',
        _HOSTILE,
    ),
    Bug(
        "hostile: tokens of the CDK that are numbers",
        "functions/bakery/texts.py",
        r"|-1\.[0-9]{10,16}e\+289",
        "",
        ("tests/infra/test_hostile.py",),
    ),
    Bug(
        "hostile: what nobody sees in a comment",
        "infra/loading/reader.py",
        "NON_PRINTABLE.pattern}|[{BIDI}]",
        "NON_PRINTABLE.pattern}",
        _HOSTILE,
    ),
    Bug(
        "hostile: parameters of Parameter Store with a version",
        "functions/bakery/recipe.py",
        "(?:ssm(?:-secure)?:[^{}]+|",
        r"(?:ssm(?:-secure)?:[\w./-]+|",
        _HOSTILE,
    ),
    Bug(
        "hostile: values that Systems Manager would resolve",
        "functions/bakery/recipe.py",
        'if found := _STORED_VALUE.search(" ".join(given)):',
        "if found := None:",
        _WRONG,
    ),
    Bug(
        "hostile: escapes reach the terminal",
        "scripts/bakery_cli/screen.py",
        "if segment.control or segment.text.isprintable():",
        "if segment.text:",
        ("tests/unit/cli/test_hostile.py",),
    ),
    Bug(
        "hostile: markup in texts",
        "scripts/bakery_cli/screen.py",
        "emoji=False, markup=False",
        "emoji=False",
        ("tests/unit/cli/test_hostile.py",),
    ),
    Bug(
        "hostile: logs in UTF-8",
        "functions/bakery/observability.py",
        "default=str, ",
        "default=str, ensure_ascii=False, ",
        _HOSTILE,
    ),
    Bug(
        "hostile: a lax true in the mover's input",
        "functions/bakery/moving.py",
        "new_label: Flag",
        "new_label: bool",
        _WRONG,
    ),
    # Secrets told
    Bug(
        "secrets: written outside the command's folder",
        "documents/with_secrets.py",
        "    return run(arguments[0], values)\n",
        "    open(os.devnull, 'a').write(repr(values))\n    return run(arguments[0], values)\n",
        ("tests/documents/test_with_secrets_audited.py",),
    ),
    Bug(
        "secrets: the password of Windows is printed",
        "documents/sysprep-windows.yaml",
        "            return $value\n",
        '            [Console]::Out.WriteLine("password: $value")\n            return $value\n',
        ("tests/documents/test_windows_password.py",),
    ),
)
