"""One EventBridge Scheduler schedule for each recipe that has one."""

from collections.abc import Mapping

from aws_cdk import Duration, TimeZone
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from bakery.recipe import Recipe, Schedule
from bakery.slots import LATEST
from infra.machine import BakeMachine
from infra.store import Store


class Schedules(Construct):
    """Starts bakes by the clock.

    The input carries the slot, because Scheduler delivers at least once: Plan bakes each slot once.
    A start that is an hour late is dropped (and kept as a dead letter): the next slot is near. Plan
    skips one that comes later all the same.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        recipes: Mapping[str, Recipe],
        machine: BakeMachine,
        store: Store,
    ) -> None:
        super().__init__(scope, id_)
        for name, recipe in recipes.items():
            if recipe.schedule is not None:
                self._schedule(name, recipe.schedule, machine, store)

    def _schedule(self, recipe: str, when: Schedule, machine: BakeMachine, store: Store) -> None:
        start: dict[str, object] = {
            "recipe": recipe,
            "slot": scheduler.ContextAttribute.scheduled_time,
        }
        if not when.only_if_changed:
            start["force"] = True
        scheduler.Schedule(
            self,
            # See Jobs: a schedule cannot move into a group.
            f"Bake-{recipe}",
            description=f"AMI Bakery: bake {recipe}",
            schedule_group=store.schedule_group,
            schedule=scheduler.ScheduleExpression.expression(
                f"cron({when.cron})", TimeZone.of(when.timezone)
            ),
            time_window=(
                scheduler.TimeWindow.flexible(Duration.minutes(when.flexible_minutes))
                if when.flexible_minutes
                else scheduler.TimeWindow.off()
            ),
            target=targets.StepFunctionsStartExecution(
                machine.machine,
                input=scheduler.ScheduleTargetInput.from_object(start),
                dead_letter_queue=store.dead_letters,
                max_event_age=Duration.seconds(int(LATEST.total_seconds())),
                retry_attempts=5,
            ),
        )
