"""The check that a list of host names has one for each node."""

from collections.abc import Iterator

from accelerate_sim.config.checks.facts import Facts
from accelerate_sim.config.host_names import listed_hosts
from accelerate_sim.config.problems import Problem, shown


def hosts_suffice(facts: Facts) -> Iterator[Problem]:
    """A list of host names has as many as the cluster has nodes, or more."""
    cluster = facts.config.cluster
    count = len(listed_hosts(cluster.host))
    if 0 < count < cluster.nodes:
        reason = f"lists {count:,} names, and cluster.nodes is {cluster.nodes:,}"
        way_out = "Name as many hosts, or give one name, to which the node's number is added."
        yield Problem.about("cluster.host", shown(cluster.host), reason, way_out, ("cluster.nodes",))
