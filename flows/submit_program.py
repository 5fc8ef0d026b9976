"""Programs of a cluster that take a job on their standard input: sbatch, kubectl."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from flows.errors import RequestError


@dataclass(frozen=True, slots=True)
class Program:
    """A program that hands a job over.

    Attributes
    ----------
    name : str
        Of the program, such as ``sbatch``.
    cluster : str
        What it talks to, as messages name it.
    look : str
        Command that lists the jobs which the cluster has taken.
    printed : str
        What ``--dry-run`` prints: file or manifest.
    timeout_seconds : int
        How long an answer may take.
    """

    name: str
    cluster: str
    look: str
    printed: str
    timeout_seconds: int

    def submit(self, arguments: list[str], text: str) -> str:
        """Hand a job over; what the program says of it.

        Raises
        ------
        RequestError
            If the program is not here, does not answer, or the job is refused.
        """
        program = shutil.which(self.name)
        if program is None:
            raise RequestError(
                f"{self.name} is not found here; submit from a machine that has it, "
                f"or take the {self.printed} that --dry-run prints there"
            )
        try:
            done = subprocess.run(  # noqa: S603 a program of this machine, and no shell
                [program, *arguments],
                input=text,
                capture_output=True,
                text=True,
                timeout=self.timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RequestError(
                f"{self.cluster} did not answer within {self.timeout_seconds} s; look with "
                f"{self.look} whether it took the job before you submit it again"
            ) from error
        if done.returncode:
            reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise RequestError(f"{self.cluster} refused the job: {reason}")
        return done.stdout.strip()
