"""What a failure of a part says of the device it was made on, and what becomes of its video."""

from __future__ import annotations

from typing import Final

from jobs.parts import PartRef
from media.devices import device_fault
from media.errors import NotStartedError, SinkFailedError, SourceUnreadableError
from pipeline.bench import Bench
from pipeline.errors import DeviceFaultError
from pipeline.gpu import family_of, on_gpu
from transcoder.cmaf import FragmentError
from transcoder.plan import Plan

#: What would happen in software as well: the source, the storage or the machine is the trouble.
_ELSEWHERE: Final = (SourceUnreadableError, NotStartedError, SinkFailedError)


def has_device(bench: Bench, plan: Plan) -> bool:
    """Whether this worker has a device of the plan's family."""
    return bench.gpu is not None and bench.gpu.device.family == family_of(plan)


def falls_back(bench: Bench, ref: PartRef, error: BaseException | None) -> bool:
    """Whether the video goes on in software where this part is given up.

    So it does whatever is wrong with a part that was made on a device, also where the source may
    be to blame: software has the last word on that. Raises :class:`storage.errors.StorageError`.
    """
    plan = bench.plans.of(ref)
    part = plan.places.get(ref.part) if plan else None
    if plan is None or part is None or not on_gpu(plan, plan.parts[part]):
        return False
    return error is None or not isinstance(_cause(error), _ELSEWHERE)


def fault_of(error: BaseException) -> str | None:
    """What counts against the device; None where the source, or something else, is at fault.

    An encoder that does not put its key frames on the grid has not done as it was told.
    """
    if isinstance(error, DeviceFaultError):
        return error.reason
    cause = _cause(error)
    if isinstance(cause, FragmentError):
        return f"pieces that do not fit: {cause}"
    return None if cause is None else device_fault(cause)


def _cause(error: BaseException) -> BaseException | None:
    """What a run died of; of a sink that refused what it was given, that."""
    cause = error.__cause__
    refused = isinstance(cause, SinkFailedError) and isinstance(cause.__cause__, FragmentError)
    return cause.__cause__ if cause is not None and refused else cause
