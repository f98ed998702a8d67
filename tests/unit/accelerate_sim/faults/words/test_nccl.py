"""NCCL's warnings are those of each release, and torch's errors carry NCCL's last warning."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from accelerate_sim.faults.words import nccl, nccl_error
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import STDERR, STDOUT
from accelerate_sim.faults.words.nccl_release import BY_RELEASE
from accelerate_sim.faults.words.watchdog import Waiter, WatchedCollective, WatchedGroup

START = datetime(2026, 6, 6, 9, 9, 8)
VERSIONS = [f"{major}.{minor}.5" for major, minor in BY_RELEASE]
NEW = re.compile(r"(?:\[2026-06-06 \d\d:\d\d:\d\d\] )?node2:4711:4790 \[5\] [\w/]+\.cc:\d+(?: \(\w+\))? NCCL WARN (.+)")


def speaker(version: str) -> nccl.NcclProcess:
    return nccl.NcclProcess(host="node2", pid=4711, thread=4790, device=5, start=START, version=version)


def waiter(torch: str) -> Waiter:
    group = WatchedGroup(rank=21, enqueued=57, completed=56)
    return Waiter(rank=21, group=group, default=group, expired=START, draw=Draw(3), torch=torch)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_warning_is_an_empty_line_and_a_line_on_standard_output(version: str) -> None:
    said = [
        *nccl.connection_closed(speaker(version), "node4", 45210),
        *nccl.connection_reset(speaker(version), "10.0.0.4", 45210),
        *nccl.port_event(speaker(version), "mlx5_3"),
        *nccl.retries_exceeded(speaker(version), "10.0.0.4", 45210, "mlx5_3", Draw(1)),
        *nccl.version_mismatch(speaker(version), 3, 22707, 9, 22105),
    ]
    assert {line.stream for line in said} == {STDOUT}
    assert {line.text for line in said[::2]} == {""}
    assert all(NEW.fullmatch(line.text) for line in said[1::2]), [line.text for line in said[1::2]]


@pytest.mark.parametrize(
    "version, timed, named", [("2.21.5", 0, 0), ("2.27.7", 1, 0), ("2.29.7", 1, 0), ("2.30.7", 1, 1)]
)
def test_the_head_of_a_warning_gains_a_time_and_then_a_function(version: str, timed: int, named: int) -> None:
    text = nccl.connection_closed(speaker(version), "node4", 45210)[1].text
    assert text.startswith("[2026-06-06 09:09:08] ") == bool(timed)
    assert ("(socketProgress) NCCL WARN" in text) == bool(named)
    assert text.endswith("NCCL WARN socketProgress: Connection closed by remote peer node4<45210>")


def test_a_failed_call_is_worded_by_release() -> None:
    def text(version: str) -> str:
        return nccl.call_failed_text("10.0.0.4", 7, version, "Broken pipe", sends=True)

    assert text("2.21.5") == "socketProgressOpt: Call to recv from 10.0.0.4<7> failed : Broken pipe"
    assert text("2.27.7") == "socketProgressOpt: Call to send to 10.0.0.4<7> failed : Broken pipe"
    assert text("2.30.7") == "ncclOsSocketProgressOpt: Call to send to 10.0.0.4<7> failed : Broken pipe"


def test_a_completion_is_worded_by_release() -> None:
    def text(version: str, status: int = 12) -> str:
        return nccl.completion_text("10.0.0.4", 7, "mlx5_3", Draw(1), version, status=status, sends=True)

    peer = "Got completion from peer 10.0.0.4<7> with"
    assert text("2.21.5") == f"NET/IB : {peer} status=12 opcode=0 len=0 vendor err 129 (Send)"
    assert text("2.27.7", 5) == f"NET/IB: {peer} status=5 opcode=0 len=0 vendor err 249 (Send) hca mlx5_3"
    assert re.fullmatch(
        re.escape(f"NET/IB: {peer} status=IBV_WC_RETRY_EXC_ERR(12) opcode=IBV_WC_SEND(0)")
        + r" reqSize=\d+ vendor_err=129 req_type=Send hca mlx5_3",
        text("2.28.9"),
    )
    assert text("2.30.7").endswith("status=IBV_WC_RETRY_EXC_ERR(12) opcode=IBV_WC_SEND(0) vendor_err=129  hca mlx5_3")


def test_a_link_that_is_down_is_noticed_after_all_retries() -> None:
    lines = nccl.retries_exceeded(speaker("2.30.7"), "10.0.0.4", 7, "mlx5_3", Draw(1))
    assert lines[0].after_s == pytest.approx(30.0, abs=0.1) == pytest.approx(nccl.retries_s(), abs=0.1)
    texts = [line.text for line in lines[1::2]]
    assert ["Got CQE" in text for text in texts] == [True, False] * 2
    assert "vendor_err=129" in texts[1] and "IBV_WC_WR_FLUSH_ERR(5)" in texts[3]
    assert nccl.retries_s(timeout=18) == pytest.approx(7.5, abs=0.1)


def test_a_flap_is_two_events() -> None:
    def text(version: str, event: str) -> str:
        return nccl.port_event(speaker(version), "mlx5_3", event)[1].text.partition("NCCL WARN ")[2]

    assert text("2.30.7", "port error") == "NET/IB : mlx5_3:1 Got non-fatal async event: port error(10)"
    assert text("2.30.7", "port active") == "NET/IB : mlx5_3:1 Got non-fatal async event: port active(9)"
    assert text("2.27.7", "port error") == "NET/IB : mlx5_3:1 Got async error event: port error"
    assert text("2.21.5", "port error") == "NET/IB : mlx5_3:1 Got async event : port error"


@pytest.mark.parametrize("torch, wait_s", [("2.5", 0.0), ("2.13", 60.0)])
def test_the_watchdog_passes_on_the_last_warning(torch: str, wait_s: float) -> None:
    last = nccl.closed_text("node4", 45210)
    lines = nccl_error.async_error(waiter(torch), WatchedCollective(seq=57), nccl_error.REMOTE, last, nccl="2.27.7")
    texts = [line.text for line in lines]
    assert {line.stream for line in lines} == {STDERR}
    assert texts[0].endswith(
        "] [Rank 21] Collective WorkNCCL(SeqNum=57, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, "
        "Timeout(ms)=600000) raised the "
        "following async exception: NCCL error: remote process exited or there was a network error, NCCL version 2.27.7"
    )
    assert texts[1] == f"{nccl_error.REMOTE.name}: {nccl_error.REMOTE.explanation}"
    assert texts[2:4] == ["Last error:", last]
    assert texts[4].startswith("Exception raised from checkForNCCLErrorsInternal at ")
    assert texts.count(last) == 3, "in the first line, in the end of the thread, and from the runtime"
    assert lines[-1].after_s - lines[0].after_s == pytest.approx(wait_s, abs=0.05)
    assert [line.after_s for line in lines] == sorted(line.after_s for line in lines)


@pytest.mark.parametrize("torch, where", [("2.5", "../torch"), ("2.7", "NCCLUtils.cpp:77"), ("2.13", "/pytorch/torch")])
def test_the_main_thread_raises_the_same(torch: str, where: str) -> None:
    lines = [
        line.text
        for line in nccl_error.backend_error_of_rank(9, nccl_error.CUDA, "Cuda failure 'out of memory'", torch=torch)
    ]
    assert lines[-4].startswith("[rank9]: torch.distributed.DistBackendError: NCCL error in: ") and where in lines[-4]
    assert lines[-4].endswith("unhandled cuda error (run with NCCL_DEBUG=INFO for details), NCCL version 2.29.7")
    assert lines[-1] == "[rank9]: Cuda failure 'out of memory'"


def test_an_aborted_communicator_says_why() -> None:
    assert nccl_error.aborted(3) == "torch.distributed.DistBackendError: NCCL communicator was aborted on rank 3. "
    assert nccl_error.aborted(3, "x").endswith("was aborted on rank 3.  Original reason for failure was: x")
