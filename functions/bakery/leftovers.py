"""What clean up and the retirement of old images have left, as the execution's state tells it."""

from collections.abc import Mapping
from typing import Any

from bakery import failures
from bakery.naming import TAG_BAKE


def of(state: Mapping[str, Any]) -> tuple[str, ...]:
    """One line for each thing that could not be removed, with AWS's reason; usually none.

    A clean up that failed as a whole has told nothing, so all of the bake may still be there.
    """
    return (*_of_clean_up(state), *_of_retirement(state))


def retired(state: Mapping[str, Any]) -> tuple[str, ...]:
    """One line for each old image that went a step further, in every Region."""
    return tuple(
        f"{region['region']}: {line}" for region in _retirements(state) for line in region["done"]
    )


def _of_retirement(state: Mapping[str, Any]) -> tuple[str, ...]:
    """A failure of all of it spoils nothing of the bake: the next one goes on."""
    failed = state.get("retire_failure")
    if failed is not None:
        return (f"retirement of old images: {failures.readable(failed)}",)
    return tuple(
        f"retirement in {region['region']}: {line}"
        for region in _retirements(state)
        for line in region["left"]
    )


def _retirements(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = state.get("retire", {}).get("regions", [])
    return found


def _of_clean_up(state: Mapping[str, Any]) -> tuple[str, ...]:
    failed = state.get("clean_up_failure")
    if failed is not None:
        reason = failures.readable(failed)
        return (
            f"anything that carries this execution's name as tag {TAG_BAKE}, and pointers, labels "
            f"and launch templates that have its image and are to have the one before: {reason}",
        )
    return tuple(str(line) for line in _result(state).get("left", ()))


def kept(state: Mapping[str, Any]) -> str | None:
    """What clean up has kept, until when, and what can be done with it; None if nothing."""
    result = _result(state)
    if not result.get("kept_until"):
        return None
    builder = next((it.split()[1] for it in result["kept"] if it.startswith("instance ")), "")
    shell = (
        f"Open a shell on the builder: aws ssm start-session --target {builder} (start it first if "
        "it is stopped). "
    )
    return (
        f"Kept until {result['kept_until']}: {', '.join(result['kept']) or 'its instances'}. "
        f"{shell if builder else ''}"
        "Go on from the failed stage: bakery retry EXECUTION, or Redrive in the console."
    )


def _result(state: Mapping[str, Any]) -> Mapping[str, Any]:
    result: Mapping[str, Any] = state.get("clean_up", {}).get("result", {})
    return result
