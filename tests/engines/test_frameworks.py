"""Scripts of Accelerate and Lightning under fake-torchrun; ranks in workers of Dask, joblib and GNU parallel."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.repository import CONFIGS, ROOT

pytestmark = pytest.mark.real
LIMIT_S = 240.0
RUN = [sys.executable, "-m", "fake_torch_dist.run", "--nnodes", "2", "--nproc-per-node", "2"]
TRAIN = [str(ROOT / "train.py"), "--config", str(CONFIGS / "debug.yaml"), "--speed", "max"]
ACCELERATE = """
import os
import torch
from accelerate import Accelerator
accelerator = Accelerator(cpu=True)
total = accelerator.reduce(torch.ones(1) * (accelerator.process_index + 1), reduction="sum")
os.write(1, f"found {accelerator.num_processes} ranks, {accelerator.distributed_type.value}: {int(total)}\\n".encode())
accelerator.end_training()
"""
LIGHTNING = """
import os
import lightning
import torch

class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, index):
        return self.layer(batch[0]).pow(2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = lightning.Trainer(accelerator="cpu", devices=2, num_nodes=2, strategy="ddp", max_epochs=1, **quiet)
trainer.fit(Model(), torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(32, 4)), batch_size=4))
environment = type(trainer.strategy.cluster_environment).__name__
os.write(1, f"found {trainer.world_size} ranks, {environment}: {trainer.global_step}\\n".encode())
"""
WORK = """
import sys

def work(rank, size, port):
    import numpy as np
    import fake_torch_dist as dist
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    numbers = np.full(4, float(rank))
    dist.all_reduce(numbers)
    dist.destroy_process_group()
    return float(numbers[0])

"""
JOBLIB = (
    WORK
    + """
if __name__ == "__main__":
    from joblib import Parallel, delayed
    print("sums", Parallel(n_jobs=4, backend="loky")(delayed(work)(rank, 4, int(sys.argv[1])) for rank in range(4)))
"""
)
DASK = (
    WORK
    + """
if __name__ == "__main__":
    from dask.distributed import Client, LocalCluster
    alone = {"threads_per_worker": 1, "processes": True, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(n_workers=4, **alone) as cluster, Client(cluster) as client:
        client.wait_for_workers(4)
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        each = enumerate(workers)
        told = [client.submit(work, rank, 4, int(sys.argv[1]), pure=False, workers=[name]) for rank, name in each]
        print("sums", client.gather(told))
"""
)


def run(words: list[str], cwd: Path, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(cwd)} | variables
    return subprocess.run(
        words, cwd=cwd, env=environment, input=given, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.mark.parametrize(
    "library, script, said",
    [
        ("accelerate", ACCELERATE, "found 4 ranks, MULTI_CPU: 10"),
        ("lightning", LIGHTNING, "found 4 ranks, TorchElasticEnvironment: 2"),
    ],
)
def test_a_real_script_is_one_job_under_the_launcher(library: str, script: str, said: str, tmp_path: Path):
    for name in ("torch", library):
        pytest.importorskip(name)
    (tmp_path / "job.py").write_text(script)
    ended = run([*RUN, "job.py"], tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count(said) == 4, ended.stdout


@pytest.mark.parametrize("library, script", [("joblib", JOBLIB), ("distributed", DASK)], ids=["joblib", "Dask"])
def test_workers_are_ranks(library: str, script: str, tmp_path: Path):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"needs {library}")
    (tmp_path / "job.py").write_text(script)
    ended = run([sys.executable, "job.py", str(free_port())], tmp_path)
    assert "sums [6.0, 6.0, 6.0, 6.0]" in ended.stdout, ended.stdout + ended.stderr


@pytest.mark.parametrize("of", ["ranks", "nodes"])
def test_jobs_of_gnu_parallel_are_one_run(of: str, tmp_path: Path):
    parallel = shutil.which("parallel")
    if parallel is None:
        pytest.skip("needs GNU parallel")
    (tmp_path / ".parallel").mkdir()
    (tmp_path / ".parallel" / "will-cite").touch()
    port = str(free_port())
    if of == "ranks":
        place = ["RANK={}", "LOCAL_RANK={}", "WORLD_SIZE=4", "LOCAL_WORLD_SIZE=4", "MASTER_ADDR=127.0.0.1"]
        words = [*place, f"MASTER_PORT={port}", sys.executable, *TRAIN]
    else:
        words = ["PET_NODE_RANK={}", *RUN, "--master-addr", "127.0.0.1", "--master-port", port, *TRAIN]
    count = 4 if of == "ranks" else 2
    ended = run([parallel, f"-j{count}", *words], tmp_path, "".join(f"{number}\n" for number in range(count)))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"train.py on {1 if of == 'ranks' else 2} node" in ended.stdout
    assert ended.stdout.count("Training finished successfully") == 1
