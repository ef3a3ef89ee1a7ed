"""What travels through the state machine: small, typed, ids and no output of scripts."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bakery import clock
from bakery.recipe import OnFailure, RecipeName, Retention, WhenBusy
from bakery.resources import DataVolume, Subnet

MAX_STATE_BYTES = 64 * 1024
"""What an execution's state may have; AWS stops an execution at 256 KiB, which no Catch sees."""

MAX_SAID_BYTES = 4 * 1024
"""What a failure may quote of a script's output."""


class State(BaseModel):
    """A part of the execution's state; keys that another release added are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ExecutionInput(BaseModel):
    """What ``StartExecution`` accepts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: RecipeName = Field(description="Name of a deployed recipe.")
    force: bool = Field(default=False, description="Bake even if nothing has changed.")
    on_failure: OnFailure | None = Field(
        default=None, description="`keep` or `clean`, instead of what the recipe says."
    )
    when_busy: WhenBusy | None = Field(
        default=None, description="`queue`, `join` or `refuse`, instead of what the recipe says."
    )
    slot: str | None = Field(
        default=None,
        description="The schedule's time; a slot that is delivered twice bakes once, one that is "
        "delivered late not at all.",
        max_length=40,
    )

    @field_validator("force", mode="before")
    @classmethod
    def _only_booleans(cls, value: object) -> object:
        if not isinstance(value, bool):
            raise ValueError("must be true or false, without quotes")
        return value

    @field_validator("slot")
    @classmethod
    def _a_moment(cls, slot: str | None) -> str | None:
        if slot is not None:
            try:
                clock.parse(slot)
            except (ValueError, OverflowError):
                raise ValueError(
                    f"'{slot}' is no moment such as 2026-01-31T03:00:00Z; the schedule writes it, "
                    "leave it out when you start a bake yourself"
                ) from None
        return slot


class BaseImage(State):
    """The image that the builder starts from, as Plan resolved it."""

    id: str
    name: str
    architecture: str
    size_gib: int
    root_device: str
    data_volumes: tuple[DataVolume, ...] = ()


class HostPlan(State):
    """The running host that the bake begins with: imaged first, then the builder is its clone."""

    instance_id: str
    image_name: str
    """Of the image that goes with the bake."""
    leave_out: tuple[str, ...] = ()
    """Devices that are not imaged."""
    reboot: bool = False
    """Whether EC2 restarts the host for it, as the recipe says."""
    tags: dict[str, str] = Field(default_factory=dict)
    """What the deployment gives to the image, beside the bakery's own."""


class LaunchPlan(State):
    """Where and how the builder may run, in the order to try."""

    instance_types: tuple[str, ...]
    subnets: tuple[Subnet, ...]
    size_gib: int
    iops: int
    throughput: int
    instance_profile: str
    patience_minutes: int = 0
    """How long to go on trying while nothing has room."""
    spot: bool = False
    """Whether to try all of them as spot first."""
    kms_key: str = ""
    """Key of the volumes that the recipe names; empty: the deployment's."""
    windows: bool = False
    """Whether the instances are Windows hosts, which take longer to come up."""
    isolated: bool = False
    """Whether it may reach nothing but Systems Manager: the clone of a host must not act as it."""
    tags: dict[str, str] = Field(default_factory=dict)
    """What the deployment gives to each instance and its parts, beside the bakery's own."""
    attempt: int = 1
    """Which of the bake's builders it is: a second one replaces one that AWS took."""


class Step(State):
    """A step of the recipe, as the execution's state knows it; the table has its command."""

    label: str


class Command(Step):
    """One document to run on the builder, pinned by version and content."""

    document: str
    version: str
    hash: str
    parameters: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    timeout_seconds: int
    sentinel: str = ""


class TestMachine(State):
    """One instance to boot the image on: the first of the types that has room."""

    __test__ = False  # no test of pytest's

    instance_types: tuple[str, ...]


class TestPlan(State):
    """How the image is tested; the table has the commands of the checks."""

    __test__ = False

    machines: tuple[TestMachine, ...]
    checks: tuple[Step, ...]
    """Ours first, then the recipe's; each runs on each machine."""
    instance_profile: str
    compare: int | None = None
    """Which of the checks reports the identity of its machine, if two are compared."""
    packages: int
    """Which of the checks lists the packages."""


class Place(State):
    """A Region that gets the image; the first is that of the stack. The recipe has the rest."""

    region: str


class Pointer(State):
    """A parameter that moves to the image."""

    region: str
    name: str


class Template(State):
    """A launch template that gets a version with the image."""

    region: str
    id: str


class Copied(State):
    """What came of the copy to a place: the image there, or why there is none."""

    region: str
    image_id: str | None
    failed: str | None = None


class Current(State):
    """The recipe's image before this bake, if it has one."""

    image: str | None = None
    name: str = ""


class Estimate(State):
    """What a bake will take, before it has begun; see ``bakery.estimate`` for how it is guessed."""

    minutes: float
    usd: float


class FastLaunchCost(State):
    """What Windows fast launch costs in one Region."""

    region: str
    usd: float
    """For the first boots when it is enabled, with each new image."""
    monthly_usd: float
    """For the snapshots in reserve."""


class Busy(State):
    """The bake that has the recipe, and for whose end this one waits."""

    holder: str
    """ARN of its execution."""
    bake: str
    since: str
    """When this bake began to wait for its turn; the same for every bake that it waits for."""


class Plan(State):
    """The whole bake, decided before anything is created."""

    entered: str = ""
    recipe: str
    bake: str
    region: str
    bake_needed: bool
    reason: str
    busy: Busy | None = None
    """Set: nothing of the plan is done until that bake has ended; then it is made anew."""
    skipped_slot: str | None = None
    """The schedule's slot that came so late that nothing is baked for it."""
    description: str
    image_name: str
    image_tags: dict[str, str]
    base_image: BaseImage
    host: HostPlan | None = None
    """Set: ``base_image`` stands for this host, and what is launched is its clone."""
    current: Current
    launch: LaunchPlan
    prepare: Command
    customize: tuple[Step, ...]
    remove_identity: Command | None
    """None for a Windows base, which never carried OpsWorks."""
    generalize: Command
    verify_identity: Command
    sysprep: Command | None = None
    """What stops the builder of a Windows image that Sysprep generalizes."""
    test: TestPlan
    places: tuple[Place, ...]
    pointers: tuple[Pointer, ...]
    templates: tuple[Template, ...] = ()
    keep_hours: int = 0
    """How long the builder stays if the bake fails; 0: it goes at once."""
    retention: Retention | None = None
    """Which old images of the recipe go."""
    retire_in: tuple[str, ...] = ()
    """The Regions where they go; none without a retention."""
    usd_per_hour: dict[str, float]
    """For each instance type."""
    estimate: Estimate


class WholeTestPlan(TestPlan):
    checks: tuple[Command, ...]


class WholePlan(Plan):
    """The plan with the commands of all steps and tests, which are too many to travel."""

    customize: tuple[Command, ...]
    test: WholeTestPlan
    fast_launch: tuple[FastLaunchCost, ...] = ()
    """What it costs beside the bake, in each Region that has it."""
