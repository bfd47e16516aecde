"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found. ``fix`` says what to do unless it is ``ok``."""

    name: str
    status: Status
    found: str
    fix: str = ""


def clock_check(name: str, ahead: float, allowed: float, unusable: float) -> Check:
    """The verdict on a clock that is so many seconds ahead of ours, or behind it."""
    said = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this host"
    if abs(ahead) <= allowed:
        return Check(name, "ok", f"its clock is within {allowed:g} s of this host's")
    status: Status = "fail" if abs(ahead) > unusable else "warn"
    fix = "Have both hosts keep time by NTP (timedatectl, chronyc tracking)."
    return Check(name, status, f"its clock is {said}", fix)
