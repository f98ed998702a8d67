"""``changes_of``: the changes of the config that options of the command line make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate_sim.config.load import Override


def changes_of(options: Mapping[str, Any]) -> list[Override]:
    """The changes in the order in which they count. ``options`` has the values of the command's parameters by name."""
    given = {name: value for name, value in options.items() if value is not None}
    changes = _set("--voice", given, "voice", "log.voice={}", "log.voice_options={{}}")
    changes += [Override(text) for text in given.get("settings") or ()]
    changes += _set("--speed", given, "speed", "run.speed={}", "run.startup_speed=null")
    changes += _set("--seed", given, "seed", "run.seed={}")
    changes += _set("--runs", given, "runs", "run.runs={}")
    changes += _set("--max-steps", given, "max_steps", "train.max_steps={}")
    changes += _listed("--log-with", given.get("log_with"), "log.trackers")
    changes += _listed("--log-hazard", given.get("log_hazard"), "log.hazards")
    changes += _set("--brand", given, "brand", "cluster.host=node")
    if given.get("publish"):
        changes += [Override("run.publish=true", "--publish")]
    if given.get("record"):
        changes += _set("--record-pace", given, "record_pace", "run.speed={}", "run.startup_speed=null")
    return changes


def _set(option: str, given: Mapping[str, Any], name: str, *changes: str) -> list[Override]:
    """The changes that an option makes, whose value stands for ``{}``; none if it was not given."""
    return [Override(change.format(given[name]), option) for change in changes] if name in given else []


def _listed(option: str, values: list[str] | None, key: str) -> list[Override]:
    return [Override(f"{key}=[{', '.join(values)}]", option)] if values else []
