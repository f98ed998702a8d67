"""The pages for users tell the truth: their commands run, their samples are what is printed, their examples work."""

import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

from tests.support.launched import RunningJob
from tests.support.processes import until
from tests.support.repository import ROOT
from tests.support.warm_train import WarmTrain, run_main

README = (ROOT / "README.md").read_text(encoding="utf-8")
LONGEST_LINES = 150
"""README is for the first minutes; what is longer stands beside its code."""
PAGES = [README, *(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("*_*/**/README.md")))]
TEXT = "\n".join(PAGES)
COMMANDS = [
    line.removeprefix("$ ") for block in re.findall(r"```console\n(.*?)```", TEXT, re.S) for line in block.splitlines()
]
PLAYED = [
    pytest.param(command, marks=pytest.mark.slow if " --report " in command else ())
    for command in dict.fromkeys(COMMANDS)
    if command.startswith(("python train.py", "fake-train"))
]
"""The plain run draws the same reports in test_report.py."""
LAUNCHED = [
    pytest.param(command, marks=pytest.mark.slow if "--nnodes 8" in command else ())
    for command in dict.fromkeys(COMMANDS)
    if command.startswith("fake-torchrun")
]
"""The plain run has the 64 ranks of the sample."""
LIMIT_S = 60
LOOK_S = 0.05
"""Time between two looks at the output of 64 ranks, in which they have the processor."""


def test_the_first_two_commands_install_and_run_and_install_and_test():
    assert COMMANDS[0] == "python -m pip install -e . && python train.py --config configs/llama70b.yaml"
    assert COMMANDS[1] == "python -m pip install -e '.[test]' && python -m pytest"


@pytest.mark.parametrize("command", PLAYED)
def test_a_command_runs(command, tmp_path):
    command = command.replace("fake-train ", "python train.py ")
    python, script, *words = shlex.split(command)
    assert (python, script) == ("python", "train.py")
    words = [str(ROOT / word) if word.startswith("configs/") else word for word in words]
    with WarmTrain(words, os.environ, tmp_path) as process:
        process.read_bytes_until(b"\n")
        first = process.raw.partition(b"\n")[0]
        if "--speed max" not in command and b"Run 1" in first:
            process.send_signal(signal.SIGINT)  # it plays for minutes; its beginning is enough
        assert process.wait() in (0, 130)
        rest = process.raw[len(first) :]
    assert process.stderr == ""
    assert first.strip() and rest.strip()


@pytest.mark.parametrize("command", LAUNCHED)
def test_a_launched_command_runs(command, tmp_path):
    """The long ones are ended as soon as they train; the launcher's exit code is then 1, as torchrun's."""
    words = [
        word if not word.startswith(("configs/", "train.py")) else str(ROOT / word) for word in shlex.split(command)
    ]
    is_long = "--speed max" not in command
    job = RunningJob(tmp_path, words[1:], {}, None, training=True)
    try:
        until(
            lambda: job.process.poll() is not None or (is_long and "Training llama" in job.out),
            "it trains or has ended", every_s=LOOK_S,
        )  # fmt: skip
        told = job.process.poll() is None
        if told:
            os.kill(job.pid, signal.SIGINT)
        ended = job.end()
    finally:
        job.clean_up()
    assert ended.code == (1 if told else 0), ended.err
    assert ended.out


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python -m accelerate_sim")])
def test_a_command_of_a_package_runs(command):
    python, option, package, *words = shlex.split(command)
    assert (python, option) == ("python", "-m")
    done = run_main(f"{package}.__main__", words, os.environ, ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", TEXT, re.S))
def test_a_config_can_be_played(text, train, tmp_path):
    (tmp_path / "own.yaml").write_text(text)
    done = train("--config", "own.yaml", "--plan", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_launched_samples_are_what_the_job_prints(tmp_path):
    """The job is told to end when it has printed the samples of all pages: 64 ranks validate and export for long."""
    samples = re.findall(r"```text launched\n(.*?)```", TEXT, re.S)
    assert len(samples) > 1
    wanted = {line for sample in samples for line in sample.splitlines() if line.strip() != "..."}
    words = ["--config", str(ROOT / "configs/llama70b.yaml"), "--speed", "max", "--start-time", "2026-01-31T09:30:00"]
    launcher = ["--nnodes", "8", "--nproc-per-node", "8", str(ROOT / "train.py")]
    job = RunningJob(tmp_path, [*launcher, *words, "--max-steps", "10"], {}, None, training=True)
    try:
        until(
            lambda: job.process.poll() is not None or wanted <= set(job.out.splitlines()),
            "the samples are printed", every_s=LOOK_S,
        )  # fmt: skip
        missing = wanted - set(job.out.splitlines())
        if job.process.poll() is None:
            os.kill(job.pid, signal.SIGINT)
        job.end()
    finally:
        job.clean_up()
    assert not missing


def test_the_sample_is_what_the_run_prints(train):
    sample = re.search(r"```text\n(.*?)```", README, re.S)
    assert sample
    lines = [line for line in sample[1].splitlines() if line.strip() != "..."]
    words = ["--config", "configs/llama70b.yaml", "--speed", "max", "--start-time", "2026-01-31T09:30:00"]
    run = train(*words, "--max-steps", "40")
    printed = run.stdout.splitlines()
    assert [line for line in lines if line not in printed] == []


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", TEXT, re.S))
def test_an_example_works(example, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr


def test_the_table_of_names_is_what_is_there():
    printed = subprocess.run(
        [sys.executable, "-m", "fake_torch_dist"], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S
    ).stdout
    assert printed and printed in TEXT


def test_every_file_that_the_readme_names_is_there():
    named = re.findall(r"`((?:accelerate_sim|fake_torch_dist|configs|tests)/[\w./-]+)`", TEXT)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readme_is_of_a_screen_or_three():
    assert len(README.splitlines()) <= LONGEST_LINES


@pytest.mark.parametrize("path", ["README.md", *(str(path.relative_to(ROOT)) for path in ROOT.glob("*_*/**/*.md"))])
def test_every_link_leads_to_a_file(path):
    page = ROOT / path
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
