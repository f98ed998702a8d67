"""The texts of ``-h``, of the tool and of its sub-commands."""

from __future__ import annotations

from accelerate_sim.monitoring.nvidia_smi.displays import DISPLAYS

HELP = """NVIDIA System Management Interface -- simulated

fake-nvidia-smi shows the GPUs of a running simulated job as nvidia-smi would. The job must have been started with
--publish (python train.py --publish); there is no GPU, and nothing here can change one.

nvidia-smi [OPTION1 [ARG1]] [OPTION2 [ARG2]] ...

    -h,   --help                Print usage information and exit.

          --version             Print version information and exit.

  LIST OPTIONS:

    -L,   --list-gpus           Display a list of GPUs connected to the system.

  SUMMARY OPTIONS:

    <no arguments>              Show a summary of GPUs connected to the system.

    [plus any of]

    -i,   --id=                 Target specific GPUs: indices, PCI bus ids or UUIDs, separated by commas.
    -f,   --filename=           Write to this file instead of standard output.
    -l,   --loop=               Probe until Ctrl+C at specified second interval.
    -lms, --loop-ms=            Probe until Ctrl+C at specified millisecond interval.

  QUERY OPTIONS:

    -q,   --query               Display GPU info.

    [plus any of]

    -x,   --xml-format          Produce XML output.
    -d,   --display=            Display only selected information:
                                {displays}.

  SELECTIVE QUERY OPTIONS:

    [one of]

    --query-gpu=                GPUs.                      Call --help-query-gpu for the fields.
    --query-supported-clocks=   Clocks that can be set.    Call --help-query-supported-clocks for the fields.
    --query-compute-apps=       Processes.                 Call --help-query-compute-apps for the fields.
    --query-accounted-apps=     Accounted processes.       Call --help-query-accounted-apps for the fields.
    --query-retired-pages=      Retired pages of memory.   Call --help-query-retired-pages for the fields.
    --query-remapped-rows=      Remapped rows of memory.   Call --help-query-remapped-rows for the fields.

    [mandatory]

    --format=                   Comma separated list of format options:
                                csv - comma separated values (MANDATORY)
                                noheader - skip first line with column headers
                                nounits - don't print units for numerical values

  SUB-COMMANDS:

    dmon                        GPUs in scrolling format.        "nvidia-smi dmon -h" for more information.
    pmon                        Processes in scrolling format.   "nvidia-smi pmon -h" for more information.
    topo                        Topology of the node.            "nvidia-smi topo -h" for more information.
    nvlink                      State of the NVLinks.            "nvidia-smi nvlink -h" for more information.

  SIMULATION OPTIONS (not nvidia-smi's):

    --node=                     Node of the simulated cluster, from 0. [default: 0]
    --job=                      Process id of the job. [default: the newest one]

  Exit codes: 0 success, 2 an invalid argument, 3 not simulated, 6 no such GPU, 9 no driver, that is no published job.
"""

_MONITOR_OPTIONS = """
    Options include:
    [-i | --id]:          GPUs: indices, PCI bus ids or UUIDs, separated by commas
    [-d | --delay]:       Interval between samples in seconds [default=1sec]
    [-c | --count]:       Number of samples, after which it exits
    [-s | --select]:      One or more groups of columns [default={default}]
{groups}
    [-o | --options]:     One or more of:
                              D - Date (YYYYMMDD) in front of each line
                              T - Time (HH:MM:SS) in front of each line
    [-f | --filename]:    Write to this file instead of standard output
    [-h | --help]:        Print this text
"""
_DMON_GROUPS = """                          Can be any of:
                              p - Power and temperatures
                              u - Utilization
                              c - Clocks of processors and memory
                              v - Violations of power and thermal limits
                              m - Memory: frame buffer, BAR1, protected
                              e - ECC errors and PCIe replays
                              t - PCIe throughput"""
_PMON_GROUPS = """                          Can be any of:
                              u - Utilization
                              m - Memory: frame buffer, protected"""
OF_SUBCOMMANDS = {
    "dmon": "\n    One line per GPU and sampling interval. Simulated.\n\n    Usage: nvidia-smi dmon [options]\n"
    + _MONITOR_OPTIONS.format(default="puc", groups=_DMON_GROUPS),
    "pmon": "\n    One line per process and sampling interval. Simulated.\n\n    Usage: nvidia-smi pmon [options]\n"
    + _MONITOR_OPTIONS.format(default="u", groups=_PMON_GROUPS),
    "topo": """
    topo -- Display topological information about the system. Simulated.

    Usage: nvidia-smi topo [options]

    Options include:
    [-m | --matrix]:      Display the matrix of connections between GPUs and network adapters.
    [-h | --help]:        Print this text
""",
    "nvlink": """
    nvlink -- Display NvLink information. Simulated.

    Usage: nvidia-smi nvlink [options]

    Options include:
    [-s | --status]:      Display the bandwidth of each link.
    [-i | --id]:          GPUs: indices, PCI bus ids or UUIDs, separated by commas
    [-h | --help]:        Print this text
""",
}
"""The text of each sub-command."""


def help_text() -> str:
    """The text of ``-h``."""
    names = list(DISPLAYS)
    lines = [", ".join(names[start : start + 6]) for start in range(0, len(names), 6)]
    return HELP.format(displays=(",\n" + " " * 32).join(lines))
