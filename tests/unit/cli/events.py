"""Events of an execution's history, in the shapes of the Step Functions API reference."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 1, 31, 3, 0, 0, tzinfo=UTC)
ARN = "arn:aws:states:eu-west-1:123456789012:execution:AmiBakery-Bake:web-1"
IMAGE = "ami-0123456789abcdef0"
BUILDER = "i-0123456789abcdef0"
TEST_INSTANCES = ("i-0000000000000test1", "i-0000000000000test2")

Event = Mapping[str, Any]


def command(document: str, label: str = "", **parameters: list[str]) -> dict[str, Any]:
    return {
        "label": label or document,
        "document": document,
        "version": "1",
        "hash": "0" * 64,
        "parameters": {"Bake": ["web-1"], **parameters},
        "timeout_seconds": 3600,
        "sentinel": "",
    }


PLAN: dict[str, Any] = {
    "recipe": "web",
    "bake": "web-1",
    "region": "eu-west-1",
    "bake_needed": True,
    "reason": "first image of this recipe",
    "description": "web tier",
    "image_name": "web-20260131T030000Z",
    "image_tags": {},
    "base_image": {
        "id": "ami-0base0000000000f0",
        "name": "al2023-base",
        "architecture": "x86_64",
        "size_gib": 8,
        "root_device": "/dev/xvda",
    },
    "current": {"image": None, "name": ""},
    "launch": {
        "instance_types": ["t3.medium", "m6i.large"],
        "subnets": [{"id": "subnet-1", "zone": "eu-west-1a", "public": True}],
        "size_gib": 12,
        "iops": 3000,
        "throughput": 125,
        "instance_profile": "builder",
    },
    "prepare": command("AmiBakery-prepare-linux"),
    "customize": [
        command("AmiBakery.web.packages", "Step 'packages'"),
        command("AmiBakery-reboot-linux", "Step 'kernel'"),
    ],
    "remove_identity": command("AmiBakery-remove-opsworks-identity", Opsworks=["auto"]),
    "generalize": command("AmiBakery-generalize-linux"),
    "verify_identity": command("AmiBakery-verify-identity"),
    "test": {
        "machines": [{"instance_types": ["t3.medium", "m6i.large"]}] * 2,
        "checks": [
            command("AmiBakery-test-image", "Test 'it has come up'"),
            command("AmiBakery-report-identity", "Test 'it tells its identity'"),
            command("AmiBakery-report-packages", "Test 'it lists its packages'"),
            command("AmiBakery.web.test.answers", "Test 'answers'"),
        ],
        "instance_profile": "test",
        "compare": 1,
        "packages": 2,
    },
    "places": [{"region": "eu-west-1"}],
    "pointers": [{"region": "eu-west-1", "name": "/ami-bakery/web/image"}],
    "templates": [],
    "usd_per_hour": {"t3.medium": 0.05, "m6i.large": 0.1},
    "estimate": {"minutes": 9.2, "usd": 0.0062},
}

STATE: dict[str, Any] = {
    "recipe": "web",
    "plan": PLAN,
    "launch": {"instance_id": BUILDER, "instance_type": "t3.medium"},
    "await_managed": {
        "agent_version": "3.3.3050.0",
        "platform": "Amazon Linux",
        "platform_version": "2023",
    },
    "create_image": {"image_id": IMAGE},
    "harden_image": {},
    "test_and_copy": {
        "copies": [{"region": "eu-west-1", "image_id": IMAGE, "failed": None}],
    },
    "release": {},
    "publish": {},
    "templates": {},
    "keep_previous": {"image": None},
    "retire": {"regions": [{"counts": {"keep": 5, "disable": 1}}]},
    "clean_up": {"result": {"removed": [f"instance {BUILDER}"], "left": []}},
}

OUTPUT: dict[str, Any] = {
    "changes": "412 packages of Amazon Linux 2023",
    "recipe": "web",
    "outcome": "baked",
    "image": {"id": IMAGE, "name": "web-20260131T030000Z", "region": "eu-west-1"},
    "copies": {},
    "left_out": {},
    "previous": None,
    "timeline": [
        {"stage": "plan", "started": "2026-01-31T03:00:00Z", "seconds": 2.0},
        {"stage": "launch", "started": "2026-01-31T03:00:02Z", "seconds": 3.0},
    ],
    "estimated_cost_usd": 0.0057,
    "reason": "first image of this recipe",
    "left": [],
}


class Script:
    """Writes a history, an event a second."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.add("ExecutionStarted", executionStartedEventDetails={"input": '{"recipe": "web"}'})

    def add(self, kind: str, **details: Any) -> "Script":
        number = len(self.events) + 1
        self.events.append(
            {
                "id": number,
                "previousEventId": number - 1,
                "timestamp": START + timedelta(seconds=number - 1),
                "type": kind,
                **details,
            }
        )
        return self

    def enter(self, name: str, kind: str = "Task", given: Any = None) -> "Script":
        details = {"name": name, "input": json.dumps(given or {})}
        return self.add(f"{kind}StateEntered", stateEnteredEventDetails=details)

    def exit(self, name: str, state: Any, kind: str = "Task") -> "Script":
        details = {"name": name, "output": json.dumps(state)}
        return self.add(f"{kind}StateExited", stateExitedEventDetails=details)

    def function(self, name: str, state: Any) -> "Script":
        """A task that runs a function directly."""
        self.enter(name).add("LambdaFunctionScheduled").add("LambdaFunctionStarted")
        return self.add("LambdaFunctionSucceeded").exit(name, state)

    def wait(self, name: str, state: Any, given: Any = None) -> "Script":
        """A task that waits for its token."""
        self.enter(name, given=given).add("TaskScheduled").add("TaskStarted").add("TaskSubmitted")
        return self.add("TaskSucceeded").exit(name, state)

    def iteration(self, index: int) -> "Script":
        """A step of the recipe that goes well."""
        details = {"name": "Customize", "index": index}
        self.add("MapIterationStarted", mapIterationStartedEventDetails=details)
        self.wait("RunStep", {})
        return self.add("MapIterationSucceeded", mapIterationSucceededEventDetails=details)

    def retire(self, state: Any) -> "Script":
        """The retirement in one Region: a Map of its own, whose iterations are no steps."""
        details = {"name": "Retire", "index": 0}
        self.enter("Retire", "Map").add("MapStateStarted")
        self.add("MapIterationStarted", mapIterationStartedEventDetails=details)
        self.function("RetireImages", {})
        self.add("MapIterationSucceeded", mapIterationSucceededEventDetails=details)
        return self.add("MapStateSucceeded").exit("Retire", state, "Map")

    def test_and_copy(self, state: Any, *, places: Sequence[Mapping[str, Any]] = ()) -> "Script":
        """Two test instances that are tested at the same time, while copies are made."""
        home = {"region": "eu-west-1", "image_id": IMAGE, "failed": None}
        self.enter("TestAndCopy", "Parallel").add("ParallelStateStarted")
        self.enter("Test", "Map").add("MapStateStarted").enter("Copy", "Map")
        for number in range(2):
            details = {"name": "Test", "index": number}
            self.add("MapIterationStarted", mapIterationStartedEventDetails=details)
            self.function("LaunchTest", {}).function("AwaitTest", {})
        for place in (home, *places):
            details = {"name": "Copy", "index": 0}
            self.add("MapIterationStarted", mapIterationStartedEventDetails=details)
            # The input has the image of the stack's Region, the output what came of the copy.
            given = {"region": place["region"], "image_id": IMAGE}
            self.enter("CopyImage", given=given).add("TaskScheduled").add("TaskSubmitted")
        for check in PLAN["test"]["checks"]:
            told = [{"test": check["label"], "instance_id": id_} for id_ in TEST_INSTANCES]
            for one in told:
                details = {"name": "RunTests", "index": 0}
                self.add("MapIterationStarted", mapIterationStartedEventDetails=details)
                self.enter("RunTest", given=one).add("TaskScheduled").add("TaskSubmitted")
            for one in reversed(told):
                self.add("TaskSucceeded").exit("RunTest", one)
        for place in (home, *places):
            self.add("TaskSucceeded").exit("CopyImage", place)
        self.add("MapStateSucceeded").exit("Copy", [], "Map")
        self.add("MapStateSucceeded").exit("Test", {}, "Map")
        self.function("CompareIdentity", {}).function("EndTests", {})
        return self.add("ParallelStateSucceeded").exit("TestAndCopy", state, "Parallel")

    def second_half(self, state: Any = None) -> "Script":
        """From the image to its launch templates."""
        state = STATE if state is None else state
        self.function("HardenImage", state).test_and_copy(state)
        for name in ("ReleaseImages", "PublishPointers", "UpdateTemplates", "KeepPrevious"):
            self.function(name, state)
        return self.retire(state)

    def fail(self, error: str, cause: str) -> "Script":
        return self.add("TaskFailed", taskFailedEventDetails={"error": error, "cause": cause})

    def fail_function(self, error: str, message: str) -> "Script":
        cause = json.dumps({"errorMessage": message, "errorType": error, "stackTrace": []})
        details = {"error": error, "cause": cause}
        return self.add("LambdaFunctionFailed", lambdaFunctionFailedEventDetails=details)


def good_bake() -> list[Event]:
    script = Script().function("Plan", STATE).enter("BakeNeeded", "Choice")
    script.exit("BakeNeeded", STATE, "Choice").function("LaunchBuilder", STATE)
    script.enter("AwaitManaged").add("LambdaFunctionScheduled").add("LambdaFunctionStarted")
    script.fail_function("NotManagedYetError", "Builder has not reported. More words.")
    script.add("LambdaFunctionScheduled").add("LambdaFunctionStarted")
    script.add("LambdaFunctionSucceeded").exit("AwaitManaged", STATE).wait("Prepare", STATE)
    script.enter("Customize", "Map").add("MapStateStarted").iteration(0).iteration(1)
    script.add("MapStateSucceeded").exit("Customize", STATE, "Map")
    for name in ("RemoveIdentity", "Generalize", "VerifyIdentity", "StopBuilder", "CreateImage"):
        script.wait(name, STATE)
    script.second_half()
    script.function("CleanUp", STATE).enter("HowDidItEnd", "Choice")
    script.exit("HowDidItEnd", STATE, "Choice").function("Report", OUTPUT)
    script.add("ExecutionSucceeded", executionSucceededEventDetails={"output": json.dumps(OUTPUT)})
    return script.events


BUSY: dict[str, Any] = {
    "holder": ARN.replace("web-1", "web-0"),
    "bake": "web-0",
    "since": "2026-01-31T03:00:02Z",
}


def queued_bake() -> list[Event]:
    """The recipe is busy; after its turn the bake finds that nothing has changed."""
    waiting = {"recipe": "web", "plan": {**PLAN, "busy": BUSY}}
    turn = {"entered": BUSY["since"], "holder": BUSY["holder"]}
    unchanged = {**PLAN, "bake_needed": False, "reason": "nothing has changed", "busy": None}
    after = {**waiting, "await_turn": turn}
    script = Script().function("Plan", waiting).wait("AwaitTurn", after)
    script.function("Plan", {**after, "plan": unchanged})
    output = {**OUTPUT, "outcome": "unchanged"}
    script.function("Report", output)
    return script.add("ExecutionSucceeded", executionSucceededEventDetails={"output": "{}"}).events


STEP_CAUSE = (
    f"Step 'packages' ended as Failed with exit code 7 on {BUILDER} (command c-1). "
    "Its last lines on stderr:\n| no such package"
)


def failed_step() -> list[Event]:
    script = Script().function("Plan", STATE).function("LaunchBuilder", STATE)
    script.enter("Customize", "Map").add("MapStateStarted")
    details = {"name": "Customize", "index": 0}
    script.add("MapIterationStarted", mapIterationStartedEventDetails=details)
    script.enter("RunStep").add("TaskScheduled").add("TaskStarted").add("TaskSubmitted")
    script.fail("CustomizationFailedError", STEP_CAUSE)
    script.add("MapIterationFailed", mapIterationFailedEventDetails=details).add("MapStateFailed")
    failed = {**STATE, "failure": {"Error": "CustomizationFailedError", "Cause": STEP_CAUSE}}
    script.exit("Customize", {k: v for k, v in failed.items() if k != "clean_up"}, "Map")
    script.function("CleanUp", failed)
    failure = {"error": "CustomizationFailedError", "cause": STEP_CAUSE}
    script.enter("FailBake").fail("CustomizationFailedError", STEP_CAUSE)
    return script.add("ExecutionFailed", executionFailedEventDetails=failure).events


TEST_CAUSE = (
    f"Test 'answers' ended as Failed with exit code 7 on {TEST_INSTANCES[0]} (command c-9). "
    "Its last lines on stderr:\n| connection refused"
)


def failed_test() -> list[Event]:
    """A test of the recipe fails on one test instance; the other parts are aborted."""
    script = Script().function("Plan", STATE).function("CreateImage", STATE)
    script.function("HardenImage", STATE)
    script.enter("TestAndCopy", "Parallel").add("ParallelStateStarted")
    checks = [check["label"] for check in PLAN["test"]["checks"]]
    given = [{"test": label, "instance_id": TEST_INSTANCES[0]} for label in checks]
    for one in given[:-1]:
        script.wait("RunTest", one, given=one)
    script.enter("RunTest", given=given[-1]).add("TaskScheduled").add("TaskSubmitted")
    script.fail("TestFailedError", TEST_CAUSE)
    details = {"name": "RunTests", "index": 2}
    script.add("MapIterationFailed", mapIterationFailedEventDetails=details).add("MapStateFailed")
    script.add("MapStateAborted").add("ParallelStateFailed")
    failed = {**STATE, "failure": {"Error": "TestFailedError", "Cause": TEST_CAUSE}}
    script.exit("TestAndCopy", {k: v for k, v in failed.items() if k != "clean_up"}, "Parallel")
    script.function("CleanUp", failed)
    failure = {"error": "TestFailedError", "cause": TEST_CAUSE}
    script.enter("FailBake").fail("TestFailedError", TEST_CAUSE)
    return script.add("ExecutionFailed", executionFailedEventDetails=failure).events


WHY = f"Builder {BUILDER} is stopped during Step 'packages': Server.SpotInstanceShutdown."


def replaced() -> list[Event]:
    """AWS takes the builder during the first step; the second builder goes through all stages."""
    script = Script().function("Plan", STATE).function("LaunchBuilder", STATE)
    script.function("AwaitManaged", STATE).wait("Prepare", STATE)
    script.enter("Customize", "Map").add("MapStateStarted")
    details = {"name": "Customize", "index": 0}
    script.add("MapIterationStarted", mapIterationStartedEventDetails=details)
    script.enter("RunStep").add("TaskScheduled").add("TaskStarted").add("TaskSubmitted")
    script.fail("BuilderTakenError", WHY)
    script.add("MapIterationFailed", mapIterationFailedEventDetails=details).add("MapStateFailed")
    script.exit("Customize", STATE, "Map")
    again = {"recipe": "web", "plan": PLAN, "lost_builder": {"why": WHY}}
    script.function("ReplaceBuilder", again)
    second = {**STATE, "lost_builder": {"why": WHY}}
    script.function("LaunchBuilder", second).function("AwaitManaged", second)
    script.wait("Prepare", second).enter("Customize", "Map").add("MapStateStarted")
    script.iteration(0).iteration(1).add("MapStateSucceeded").exit("Customize", second, "Map")
    for name in ("RemoveIdentity", "Generalize", "VerifyIdentity", "StopBuilder", "CreateImage"):
        script.wait(name, second)
    script.second_half(second)
    script.function("CleanUp", second).function("Report", OUTPUT)
    script.add("ExecutionSucceeded", executionSucceededEventDetails={"output": json.dumps(OUTPUT)})
    return script.events


def not_replaced() -> list[Event]:
    """ReplaceBuilder refuses: it was the last builder that the bake may have."""
    script = Script().function("Plan", STATE).function("LaunchBuilder", STATE)
    script.enter("Prepare").add("TaskScheduled").fail("BuilderTakenError", WHY)
    script.exit("Prepare", {**STATE, "failure": {"Error": "BuilderTakenError", "Cause": WHY}})
    script.enter("ReplaceBuilder").add("LambdaFunctionScheduled")
    script.fail_function("BuilderTakenError", "builder 2 of 2").exit("ReplaceBuilder", STATE)
    script.function("CleanUp", STATE).enter("FailBake").fail("BuilderTakenError", WHY)
    failure = {"error": "BuilderTakenError", "cause": WHY}
    return script.add("ExecutionFailed", executionFailedEventDetails=failure).events


def refused() -> list[Event]:
    """Plan finds that the recipe cannot be baked."""
    script = Script().enter("Plan").add("LambdaFunctionScheduled").add("LambdaFunctionStarted")
    script.fail_function("InvalidRecipeError", "Recipe 'web' cannot be baked:\n- base: is bad")
    failure = {"Error": "InvalidRecipeError", "Cause": "{}"}
    script.exit("Plan", failure).enter("PlanRefused", "Pass")
    script.exit("PlanRefused", {"failure": failure}, "Pass")
    script.function("CleanUp", {"failure": failure, "clean_up": STATE["clean_up"]})
    details = {
        "error": "InvalidRecipeError",
        "cause": "Recipe 'web' cannot be baked:\n- base: is bad",
    }
    return script.add("ExecutionFailed", executionFailedEventDetails=details).events
