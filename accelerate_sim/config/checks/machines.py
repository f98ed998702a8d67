"""Checks of the machines."""

from collections.abc import Iterator

from accelerate_sim.catalog.gpus import DRIVERS, LAST_OF_VOLTA
from accelerate_sim.config.checks.facts import Facts, problem_with
from accelerate_sim.config.problems import Problem


def driver_fits(facts: Facts) -> Iterator[Problem]:
    """The driver supports the GPU."""
    branch, board, gpu = facts.config.cluster.driver, facts.gpu.board, facts.gpu
    keys = ("cluster.driver", "cluster.gpu")
    if branch is None:
        return
    if board is None:
        yield problem_with(facts, keys, f"is a driver of NVIDIA's, and {gpu.name} is {gpu.vendor}'s", "Use null.")
        return
    oldest = board.driver.major if board.architecture == "Blackwell" else min(DRIVERS)
    newest = LAST_OF_VOLTA if board.architecture == "Volta" else max(DRIVERS)
    if not oldest <= branch <= newest:
        usable = [each for each in DRIVERS if oldest <= each <= newest]
        yield problem_with(facts, keys, f"does not support {gpu.name}", f"Use one of {usable}, or null.")
