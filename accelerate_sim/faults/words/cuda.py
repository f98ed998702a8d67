"""CUDA's errors and the exceptions that torch makes of them, by release of torch (2.4 to 2.13)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import STDERR, TimedLine, block
from accelerate_sim.faults.words.python_traceback import BACKWARD, TracebackFrame, traceback_of_rank
from accelerate_sim.faults.words.torch_release import release

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class CudaError(NamedTuple):
    """An error of the CUDA runtime: its name in the API, its number, and its text."""

    name: str
    number: int
    text: str


OUT_OF_MEMORY = CudaError("cudaErrorMemoryAllocation", 2, "out of memory")
OLD_DRIVER = CudaError(
    "cudaErrorInsufficientDriver", 35, "CUDA driver version is insufficient for CUDA runtime version"
)
UNAVAILABLE = CudaError("cudaErrorDevicesUnavailable", 46, "CUDA-capable device(s) is/are busy or unavailable")
NO_DEVICE = CudaError("cudaErrorNoDevice", 100, "no CUDA-capable device is detected")
ECC = CudaError("cudaErrorECCUncorrectable", 214, "uncorrectable ECC error encountered")
NVLINK = CudaError("cudaErrorNvlinkUncorrectable", 220, "uncorrectable NVLink error detected during the execution")
CONTAINED = CudaError("cudaErrorContained", 226, "Invalid access of peer GPU memory over nvlink or a hardware error")
ILLEGAL_ADDRESS = CudaError("cudaErrorIllegalAddress", 700, "an illegal memory access was encountered")
LAUNCH_TIMEOUT = CudaError("cudaErrorLaunchTimeout", 702, "the launch timed out and was terminated")
ASSERTION = CudaError("cudaErrorAssert", 710, "device-side assert triggered")
STACK = CudaError("cudaErrorHardwareStackError", 714, "hardware stack error")
ILLEGAL_INSTRUCTION = CudaError("cudaErrorIllegalInstruction", 715, "an illegal instruction was encountered")
MISALIGNED = CudaError("cudaErrorMisalignedAddress", 716, "misaligned address")
LAUNCH_FAILURE = CudaError("cudaErrorLaunchFailure", 719, "unspecified launch failure")
FABRIC_NOT_READY = CudaError("cudaErrorSystemNotReady", 802, "system not yet initialized")
DRIVER_MISMATCH = CudaError(
    "cudaErrorSystemDriverMismatch", 803, "system has unsupported display driver / cuda driver combination"
)
CAPTURE = CudaError("cudaErrorStreamCaptureInvalidated", 901, "operation failed due to a previous error during capture")
UNKNOWN = CudaError("cudaErrorUnknown", 999, "unknown error")

ERRORS: Final = (
    OUT_OF_MEMORY, OLD_DRIVER, UNAVAILABLE, NO_DEVICE, ECC, NVLINK, CONTAINED, ILLEGAL_ADDRESS, LAUNCH_TIMEOUT,
    ASSERTION, STACK, ILLEGAL_INSTRUCTION, MISALIGNED, LAUNCH_FAILURE, FABRIC_NOT_READY, DRIVER_MISMATCH, CAPTURE,
    UNKNOWN,
)  # fmt: skip

AFTER_XID: Final = {
    13: ILLEGAL_ADDRESS, 31: ILLEGAL_ADDRESS, 43: ILLEGAL_ADDRESS, 45: LAUNCH_FAILURE, 48: ECC, 74: NVLINK,
    79: UNKNOWN, 94: CONTAINED, 95: ECC, 140: ECC, 149: NVLINK,
}  # fmt: skip
"""The error that a process gets from its next CUDA call after an Xid. 63, 64 and 154 alone end no process; after 119
and 120 calls do not return."""

ADVICE: Final = (
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)
TYPES_PAGE: Final = "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html"


def message(error: CudaError, torch: str = "2.13") -> str:
    """The message of torch's exception: the error, where to read about it (2.9 and later), and advice."""
    search = f"Search for `{error.name}' in {TYPES_PAGE} for more information.\n" if release(torch) >= (2, 9) else ""
    return f"CUDA error: {error.text}\n{search}{ADVICE}"


def exception(error: CudaError, torch: str = "2.13") -> str:
    """The last lines of a traceback: the class, which has a name of its own since 2.8, and the message."""
    return f"{'torch.AcceleratorError' if release(torch) >= (2, 8) else 'RuntimeError'}: {message(error, torch)}"


def main_thread(
    rank: int, error: CudaError, frames: Iterable[TracebackFrame] = BACKWARD, *, torch: str = "2.13"
) -> list[TimedLine]:
    """The lines of a rank whose main thread meets a CUDA error; its exit code is 1."""
    return traceback_of_rank(rank, exception(error, torch), frames)


def watchdog_is_first(draw: Draw) -> bool:
    """Return True if NCCL's watchdog reports a CUDA error before the main thread does, as in most public logs.

    The process then ends by SIGABRT instead of with exit code 1.
    """
    return draw.below("reporter", 10) < 8


def device_assertions(draw: Draw, count: int = 8) -> list[TimedLine]:
    """The lines of GPU threads whose assertion fails, as an index is out of range; before the exception."""
    block_x = draw.below("block", 400)
    kernel = "indexSelectLargeIndex"
    said = "Assertion `srcIndex < srcSelectDimSize` failed."
    text = "/pytorch/aten/src/ATen/native/cuda/Indexing.cu:{line}: {kernel}: block: [{x},0,0], thread: [{t},0,0] {said}"
    return [
        TimedLine(0.0, STDERR, text.format(line=1515, kernel=kernel, x=block_x, t=32 + thread, said=said))
        for thread in range(count)
    ]


def size_text(size: int) -> str:
    """A number of bytes as torch's allocator prints it: a unit is used above 1024 of the one below."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size > unit:
            return f"{size / unit:.2f} {name}"
    return f"{size} bytes"


def segment_size(size: int) -> int:
    """Bytes that the allocator asks the driver for when it needs ``size``: 2 MiB, 20 MiB, or a multiple of 2 MiB."""
    if size <= MIB:
        return 2 * MIB
    return 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB


class GpuMemory(NamedTuple):
    """Memory of a GPU at the moment of an allocation, in bytes."""

    capacity: int
    allocated: int
    """Bytes in tensors of this process."""

    reserved: int
    """Bytes that torch's allocator holds, ``allocated`` among them."""

    context: int
    """Bytes of this process outside the allocator: CUDA context and NCCL buffers, 0.5 to 2 GiB."""

    others: tuple[tuple[int, int], ...] = ()
    """(pid, bytes) of other processes on the GPU."""

    private_pools: int = 0
    """Bytes of ``allocated`` that belong to CUDA graphs."""

    @property
    def used(self) -> int:
        return self.reserved + self.context

    @property
    def free(self) -> int:
        return self.capacity - self.used - sum(size for _, size in self.others)


def out_of_memory(gpu: int, asked: int, memory: GpuMemory, *, torch: str = "2.13", allowed: int | None = None) -> str:
    """The exception of an allocation that finds no room. Its figures add up, and more is asked than is free."""
    tried = segment_size(asked)
    if memory.free < 0 or memory.free >= tried or memory.reserved < memory.allocated:
        raise ValueError(
            f"{size_text(tried)} is no shortage of memory: {memory}, {size_text(max(memory.free, 0))} free"
        )
    processes = "".join(f"Process {pid} has {size_text(size)} memory in use. " for pid, size in memory.others)
    processes += f"Including non-PyTorch memory, this process has {size_text(memory.used)} memory in use. "
    limit = "" if allowed is None else f"{size_text(allowed)} allowed; "
    pools = f"with {size_text(memory.private_pools)} allocated in private pools (e.g., CUDA Graphs), "
    notes = "https://pytorch.org/docs/stable/notes/cuda.html#environment-variables"
    if release(torch) >= (2, 10):
        notes = (
            "https://docs.pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-pytorch-cuda-alloc-conf"
        )
    name = "torch.OutOfMemoryError" if release(torch) >= (2, 5) else "torch.cuda.OutOfMemoryError"
    return (
        f"{name}: CUDA out of memory. Tried to allocate {size_text(tried)}. GPU {gpu} has a total capacity of "
        f"{size_text(memory.capacity)} of which {size_text(memory.free)} is free. {processes}{limit}"
        f"Of the allocated memory {size_text(memory.allocated)} is allocated by PyTorch, "
        f"{pools if memory.private_pools else ''}and {size_text(memory.reserved - memory.allocated)} is reserved by "
        "PyTorch but unallocated. If reserved but unallocated memory is large try setting "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory "
        f"Management  ({notes})"
    )


def out_of_memory_of_rank(
    rank: int,
    gpu: int,
    asked: int,
    memory: GpuMemory,
    *,
    torch: str = "2.13",
    frames: Sequence[TracebackFrame] = BACKWARD,
    retries: int = 0,
) -> list[TimedLine]:
    """The lines of a rank that runs out of GPU memory, torchtitan's warning before it if there were retries.

    There is no kernel line. The exit code is 1.
    """
    warning = block(0.0, STDERR, f"{retries} CUDA memory allocation retries.") if retries else []
    return warning + traceback_of_rank(rank, out_of_memory(gpu, asked, memory, torch=torch), frames)
