"""Host names of a cluster: a name and the node's number, or a list in Slurm's notation.

``cluster.host`` is ``node`` for node0, node1 and so on, or gpu-[007-010,12] for names with gaps and zeros.
"""

import re
from functools import cache
from itertools import product

AUTO = "auto"
"""Value for the names of the machines that the processes run on."""
_DIVIDER = re.compile(r"""[\s|/\\"'`;=<>(){}]""")
"""Characters that divide the fields of log lines, labels or paths."""


def host_name(host: str, node: int) -> str:
    """Name of a node of the cluster whose key ``cluster.host`` is ``host``."""
    names = listed_hosts(host)
    return names[node] if node < len(names) else f"{host}{node}"


@cache
def listed_hosts(host: str) -> tuple[str, ...]:
    """The names of a list; empty if ``host`` is one name. A comma at the end makes a list of a single name."""
    if "," not in host and "[" not in host:
        return ()
    words = re.findall(r"(?:[^,\[]|\[[^]]*\])+", host)
    return tuple(name for word in words for name in _expanded(word))


def unusable_part(host: str) -> str | None:
    """The first part of ``cluster.host`` that no name can have: a divider of log fields, or a bracket alone."""
    found = _DIVIDER.search(host) or re.search(r"[][]", re.sub(r"\[[^][]*\]", "", host))
    return found[0] if found else None


def _expanded(word: str) -> list[str]:
    parts = [_numbers(part[1:-1]) if part.startswith("[") else [part] for part in re.findall(r"\[[^]]*\]|[^[]+", word)]
    return ["".join(name) for name in product(*parts)]


def _numbers(text: str) -> list[str]:
    """The numbers of ``007-010,12``, each as wide as the first of its range."""
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and last.isdecimal():
            found += [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
        else:
            found.append(part)
    return found
