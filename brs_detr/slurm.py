"""What Slurm tells the processes of a job."""

import os
import subprocess

PORTS = range(10_000, 30_000)  # below those that Linux gives to outgoing connections


def hosts() -> list[str]:
    """The machines of this job step; the process of rank 0 runs on the first."""
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ["SLURM_JOB_NODELIST"]
    shown = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True)
    return shown.stdout.split()


def port() -> int:
    """A port that no other step on the same machine takes: it follows from the numbers of job and step."""
    job, step = int(os.environ["SLURM_JOB_ID"]), int(os.environ.get("SLURM_STEP_ID", "0"))
    return PORTS[(job + 997 * step) % len(PORTS)]
