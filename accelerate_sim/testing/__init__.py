"""The objects that the pytest plugin's fixtures return, and ``score``, which judges a detector by the ground truth."""

from accelerate_sim.testing.cluster import FakeCluster
from accelerate_sim.testing.run import FakeRun
from accelerate_sim.testing.scoring import Alert, Score, score

__all__ = ["Alert", "FakeCluster", "FakeRun", "Score", "score"]
