"""Parameter Store beyond moto: image parameters are validated later, and changes are events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from scripts.local import moto_seam
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT

if TYPE_CHECKING:
    from scripts.local.calls import Call, Handler, Raw
    from scripts.local.clock import Clock, Timers
    from scripts.local.ec2 import Ec2
    from scripts.local.ec2_state import Emit

IMAGE = "aws:ec2:image"
_READS = ("Parameter", "Parameters", "ParametersByPath", "ParameterHistory")


class Parameters:
    """`aws.parameters`: how long validation takes, and a way to put public parameters."""

    def __init__(self, clock: Clock, timers: Timers, ec2: Ec2, emit: Emit) -> None:
        self._clock = clock
        self._timers = timers
        self._ec2 = ec2
        self._emit = emit
        self.validation = 3.0
        ec2.state.parameter = self.value  # type: ignore[method-assign]

    def handlers(self) -> dict[str, Handler]:
        return {
            **{f"Get{name}": self._get for name in _READS},
            "PutParameter": self._put,
            "DeleteParameter": lambda call: self._delete(call, [call.parameters["Name"]]),
            "DeleteParameters": lambda call: self._delete(call, call.parameters["Names"]),
        }

    def _get(self, call: Call) -> Any:
        """Public parameters are there in every Region, also in one that nobody used yet."""
        with self._ec2.state.lock:
            self._ec2.state.region(call.region)
        return call.proceed()

    def publish(self, name: str, value: str, region: str, data_type: str = IMAGE) -> None:
        """Put a public parameter of AWS's, with the history that a second value makes."""
        held = moto_seam.backend("ssm", region)._parameters
        # moto's own, of some day in the past, name images that are in no catalog of ours.
        held.latest_amis_loaded = held.latest_ecs_amis_loaded = True
        versions = held[name]
        versions.append(
            moto_seam.ssm_parameter(
                account_id=ACCOUNT,
                name=name,
                value=value,
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=self._clock.now(),
                version=len(versions) + 1,
                data_type=data_type,
            )
        )

    def value(self, name: str, region: str) -> str | None:
        """The value in force, None when there is no such parameter."""
        held = moto_seam.backend("ssm", region)._parameters
        return str(held[name][-1].value) if name in held else None

    def _put(self, call: Call) -> Any:
        name = str(call.parameters["Name"])
        known = name in moto_seam.backend("ssm", call.region)._parameters
        current = moto_seam.backend("ssm", call.region)._parameters[name][-1] if known else None
        data_type = call.get("DataType") or (current.data_type if current else "text")
        if data_type != IMAGE:
            raw = call.proceed()
            call.error = moto_seam.error_code(raw)
            if call.error is None:
                self._announce(call, "Update" if known else "Create")
            return raw
        return self._put_image(call, known)

    def _put_image(self, call: Call, known: bool) -> dict[str, Any]:
        """Answer at once; the value is in force, or refused, a few seconds later."""
        name, value = str(call.parameters["Name"]), str(call.parameters["Value"])
        if known and not call.get("Overwrite"):
            message = (
                "The parameter already exists. To overwrite this value, set the overwrite option "
                "in the request to true."
            )
            raise AwsError("ParameterAlreadyExists", message)
        if not re.fullmatch(r"ami-[0-9a-f]{8}([0-9a-f]{9})?", value):
            message = f"Parameter value {value} does not match the data type aws:ec2:image."
            raise AwsError("ValidationException", message)
        held = moto_seam.backend("ssm", call.region)._parameters
        version = held[name][-1].version + 1 if known else 1
        self._timers.after(
            self.validation, lambda: self._validate(call, known), f"validation of {name}"
        )
        return {"Version": version, "Tier": "Standard"}

    def _validate(self, call: Call, known: bool) -> None:
        operation = "Update" if known else "Create"
        with self._ec2.state.lock:
            region = self._ec2.state.region(call.region)
            image = region.images.get(str(call.parameters["Value"]))
            usable = image is not None and image["State"] == "available"
        if not usable:
            self._announce(call, operation, "Unable to Describe Resource")
            return
        raw: Raw = call.proceed()
        failed = moto_seam.error_code(raw)
        self._announce(call, operation, failed)

    def _delete(self, call: Call, names: list[str]) -> Any:
        held = moto_seam.backend("ssm", call.region)._parameters
        there = [n for n in names if n in held]
        types = {n: (held[n][-1].parameter_type, held[n][-1].data_type) for n in there}
        raw = call.proceed()
        call.error = moto_seam.error_code(raw)
        if call.error is None:
            for name in there:
                self._event(call.region, "Delete", name, *types[name], None)
        return raw

    def _announce(self, call: Call, operation: str, exception: str | None = None) -> None:
        held = moto_seam.backend("ssm", call.region)._parameters
        name = str(call.parameters["Name"])
        kind = str(
            call.get("Type") or (held[name][-1].parameter_type if name in held else "String")
        )
        data_type = str(
            call.get("DataType") or (held[name][-1].data_type if name in held else "text")
        )
        self._event(call.region, operation, name, kind, data_type, exception)

    def _event(
        self,
        region: str,
        operation: str,
        name: str,
        kind: str,
        data_type: str,
        exception: str | None,
    ) -> None:
        detail = {"operation": operation, "name": name, "type": kind, "dataType": data_type}
        if exception:
            detail["exception"] = exception
        arn = f"arn:aws:ssm:{region}:{ACCOUNT}:parameter/{name.lstrip('/')}"
        self._emit(region, "aws.ssm", "Parameter Store Change", [arn], detail)
