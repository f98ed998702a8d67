"""``--help-query-gpu`` and its siblings: every field with its other names and a description."""

from __future__ import annotations

from accelerate_sim.monitoring.nvidia_smi.fields.descriptions import describe
from accelerate_sim.monitoring.nvidia_smi.query import known_fields


def query_help(kind: str, branch: int) -> str:
    """The text of ``--help-query-...``: a blank line stands before each field, its description after it."""
    entries = []
    for name, field in known_fields(kind, branch).items():
        quoted = [f'"{each}"' for each in (name, *field.aliases)]
        entries.append(f"{' or '.join(quoted)}\n{describe(name)}\n")
    return f'List of valid properties to query for the switch "--query-{kind}":\n\n' + "\n".join(entries) + "\n"
