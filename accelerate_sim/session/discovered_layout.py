"""The layout of a job whose environment does not have it: all ranks meet and exchange their host names.

PyTorchJob, Volcano and variables written by hand give RANK and WORLD_SIZE only.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from accelerate_sim.config.problems import ConfigError, Problem
from accelerate_sim.process.place_variables import ENVIRONMENT
from accelerate_sim.process.placement import Placement
from accelerate_sim.session.coordination import Coordination, host_number, leave_world

MOST_NAMED = 16
BLOCKS = "Place as many ranks on each host, in blocks: ranks 0 to N-1 on the first one, the next N on the second."


def settled(placement: Placement) -> Placement:
    """``placement`` with local rank and ranks per node, for which all ranks meet if they are not known.

    LOCAL_RANK and LOCAL_WORLD_SIZE are set for this process. ConfigError on all ranks if hosts differ in size.
    """
    if placement.local_world_size:
        return placement
    Coordination(placement).meet()
    try:
        whole = laid_out(placement, *_gathered(placement))
    finally:
        leave_world()  # the next one is made of nodes of this size
    os.environ |= {"LOCAL_RANK": str(whole.local_rank), "LOCAL_WORLD_SIZE": str(whole.local_world_size)}
    return whole.playing(placement.num_played)


def laid_out(
    placement: Placement, hosts: Sequence[int], local_ranks: Sequence[int], local_sizes: Sequence[int]
) -> Placement:
    """``placement`` completed by host, local rank (-1: unknown) and node size (0: unknown) of each rank.

    Local ranks and sizes decide if they are known, as several nodes may be one host. Raises ConfigError, the same on
    all ranks, if they do not follow each other in nodes of one size.
    """
    per_node = max(local_ranks) + 1
    if max(local_ranks) <= 0 and len(set(local_sizes)) == 1 and local_sizes[0]:
        per_node, fits, found = local_sizes[0], True, f"each node has {local_sizes[0]} ranks"
    elif per_node > 1:  # 0 everywhere means that each rank sees one device, its own
        fits = [rank % per_node for rank in range(len(local_ranks))] == list(local_ranks)
        found = f"LOCAL_RANK is {', '.join(map(str, local_ranks[:MOST_NAMED]))} on ranks 0, 1 and so on"
    else:
        sizes = Counter(hosts)
        per_node = sizes[hosts[0]]
        starts = range(0, len(hosts), per_node)
        fits = all(set(hosts[first : first + per_node]) == {hosts[first]} for first in starts)
        fits = fits and set(sizes.values()) == {per_node}
        found = f"the hosts have {', '.join(map(str, [*sizes.values()][:MOST_NAMED]))} ranks"
    if not fits or len(hosts) % per_node:
        raise ConfigError([Problem(ENVIRONMENT, None, "", None, f"{found}: these make no nodes of one size", BLOCKS)])
    local_rank = placement.rank % per_node if placement.local_rank < 0 else placement.local_rank
    return replace(placement, local_rank=local_rank, local_world_size=per_node)


def _gathered(placement: Placement) -> tuple[list[int], list[int], list[int]]:
    """A number for the host of each rank, equal for ranks of one host, each local rank, and each node's likely size."""
    import numpy as np

    import fake_torch_dist as dist

    mine = np.array([host_number(), placement.local_rank, placement.likely_local_size], np.int64)
    of_all = np.zeros(3 * placement.world_size, np.int64)
    dist.all_gather_single(of_all, mine)
    hosts, local_ranks, local_sizes = of_all.reshape(-1, 3).T.tolist()
    return hosts, local_ranks, local_sizes
