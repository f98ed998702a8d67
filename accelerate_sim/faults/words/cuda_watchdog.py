"""The lines of an NCCL watchdog that meets a CUDA error before the main thread does."""

from __future__ import annotations

from typing import Final

from accelerate_sim.faults.words.cpp_log import CppFrame, frames_text, string_type
from accelerate_sim.faults.words.cuda import CudaError, message
from accelerate_sim.faults.words.line import TimedLine
from accelerate_sim.faults.words.watchdog import Waiter, termination, watchdog_frames

CHECK: Final = "c10::cuda::c10_cuda_check_implementation(int, char const*, char const*, int, bool)"
WORK: Final = "c10d::ProcessGroupNCCL::WorkNCCL::"


def cuda_error(waiter: Waiter, error: CudaError, *, after_s: float = 0.0) -> list[TimedLine]:
    """The lines of a rank whose watchdog queries a CUDA event and gets an error, to its abort by SIGABRT.

    The watchdog does not wait for the flight recorder, as its thread has ended. ``waiter.expired`` is the simulated
    time of the fault.
    """
    torch = waiter.torch
    calls = (
        CppFrame(
            "c10",
            0x64,
            f"c10::detail::torchCheckFail(char const*, char const*, unsigned int, {string_type(torch)} const&)",
        ),
        CppFrame("c10_cuda", 0x118, CHECK),
        CppFrame("cuda", 0x56, f"{WORK}finishedGPUExecutionInternal() const"),
        CppFrame("cuda", 0xA0, f"{WORK}isCompleted()"),
    )
    origin = "Exception raised from c10_cuda_check_implementation at /pytorch/c10/cuda/CUDAException.cpp:43"
    origin += " (most recent call first):\n"
    origin += frames_text(watchdog_frames(waiter, *calls), waiter.draw.within("frames"))
    # The message ends with a line end of its own, which gives the empty line before the place.
    return termination(waiter, after_s + waiter.noticed_s, message(error, torch), origin)
