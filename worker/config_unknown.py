"""Variables that begin like settings and are none: most are misspelt, and would go unnoticed."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from worker.config import ClientSettings, Settings

PREFIX = "DREAMHOOK_"

# What the tests read, and what Kubernetes and Docker set for a service that is called `dreamhook`.
_OTHERS = re.compile(r"DREAMHOOK_(TEST_.*|(.*_)?SERVICE_.*|(.*_)?PORT_\d+_.*|ENV_.*|NAME)")


class Unknown(NamedTuple):
    """A variable that is no setting, and the setting that was perhaps meant."""

    name: str
    meant: str | None

    @property
    def remedy(self) -> str:
        """Say what is wrong with it and what to do."""
        if self.meant is None:
            return f"{self.name} is not a setting, and changes nothing: unset it"
        return f"{self.name} is not a setting, and changes nothing: did you mean {self.meant}?"


def unknown_settings(env: Mapping[str, str] | None = None) -> list[Unknown]:
    """Find what is set (by default for this process) and is no setting."""
    known = {
        str(field.alias)
        for model in (Settings, ClientSettings)
        for field in model.model_fields.values()
    }
    return [
        Unknown(name, _nearest(name, known))
        for name in sorted(os.environ if env is None else env)
        if name.startswith(PREFIX) and name not in known and not _OTHERS.fullmatch(name)
    ]


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Find what is spelt most like it; what all of them begin with counts for nothing."""
    ends = [each.removeprefix(PREFIX) for each in known]
    found = difflib.get_close_matches(name.removeprefix(PREFIX), ends, n=1, cutoff=0.65)
    return f"{PREFIX}{found[0]}" if found else None
