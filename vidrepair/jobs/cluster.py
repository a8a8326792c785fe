"""Workers that are actors of a Ray cluster, one for each card or processor slot.

Ray starts them where there is room and tells of those that are lost; what is to be done, and what
was finished, stands in the folder beside the film, which every machine has to see under the same
name. Ray is for a trusted network alone: whoever reaches its ports runs code as its user.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidrepair.errors import UsageError, VidrepairError
from vidrepair.jobs.processes import Outcome, do_share
from vidrepair.segment_plan import Share
from vidrepair.settings import Job, MaskSettings

LOCAL = "local"
"""The address of a cluster that is this machine alone, for as long as the run lasts."""
POLL = 0.5
"""Seconds between two questions for how far the workers are."""


class Cluster:
    """An open connection to a cluster."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def slots(self, job: Job) -> int:
        """How many workers it has room for, cards or machines: one for each."""
        resources: dict[str, float] = self._ray.cluster_resources()
        machines = sum(name.startswith("node:") and "internal" not in name for name in resources)
        cards = int(resources.get("GPU", 0))
        return max(cards if cards and job.engine.device != "cpu" else machines, 1)

    def work(
        self, shares: Sequence[tuple[Job, Share]], tell: Callable[[int, int], None]
    ) -> Outcome:
        """Have an actor do each share, and wait for all; none is left behind.

        `tell` is told how many frames a worker has finished. Raises the first error that one of
        them tells of.
        """
        actor = self._ray.remote(_Actor)
        cards = self._ray.cluster_resources().get("GPU", 0)
        actors = [actor.options(**_needs(job, cards)).remote() for job, _ in shares]
        going = {
            one.work.remote(job, share): (share.worker, one)
            for one, (job, share) in zip(actors, shares, strict=True)
        }
        outcome = Outcome()
        try:
            while going:
                done, _ = self._ray.wait(list(going), timeout=POLL)
                for answer in done:
                    worker, _ = going.pop(answer)
                    self._take(answer, worker, outcome)
                for worker, one in list(going.values()):
                    self._ask(one, worker, tell)
        finally:
            for one in actors:
                self._ray.kill(one)
        return outcome

    def _take(self, answer: Any, worker: int, outcome: Outcome) -> None:
        try:
            told = self._ray.get(answer)
        except self._ray.exceptions.RayActorError:
            outcome.deaths.append(f"worker {worker} was lost")
            return
        except self._ray.exceptions.RayTaskError as error:
            reason = str(error).strip().rpartition("\n")[2]
            outcome.deaths.append(f"worker {worker} failed ({reason})")
            return
        outcome.take(told)

    def _ask(self, actor: Any, worker: int, tell: Callable[[int, int], None]) -> None:
        """How far it is; one that has not started, or is lost, says nothing."""
        wrong = (self._ray.exceptions.RayActorError, self._ray.exceptions.GetTimeoutError)
        try:
            tell(worker, self._ray.get(actor.frames.remote(), timeout=POLL))
        except wrong:
            return


@contextmanager
def open_cluster(address: str) -> Iterator[Cluster]:
    """Join the cluster at an address, or make one of this machine. Raises UsageError where Ray is
    not installed, and VidrepairError where nobody answers.
    """
    # It counts users on a server of its makers' unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise UsageError("--ray needs Ray; pip install 'vidrepair[ray]'") from error
    where = {"include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        ray.init(**where, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise VidrepairError(
            f"no Ray cluster at {address} ({reason}); start one with ray start --head"
        ) from error
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()


def for_cluster(job: Job) -> Job:
    """A job whose files are found from any folder: workers have another one than its caller."""
    asked = job.repair
    repair = replace(
        asked,
        noise_profile=_whole(asked.noise_profile),
        mask_in=_whole_mask(asked.mask_in),
        protect=_whole_mask(asked.protect),
    )
    source, output = _whole(job.source), _whole(job.output)
    analysis, shots = _whole(job.analysis), _whole(job.shots)
    return replace(job, source=source, output=output, analysis=analysis, shots=shots, repair=repair)


def _whole(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _whole_mask(mask: MaskSettings | None) -> MaskSettings | None:
    return None if mask is None else replace(mask, path=mask.path.absolute())


def _needs(job: Job, cards: float) -> dict[str, Any]:
    """What a worker takes of the cluster, and that it can be asked while it works."""
    card = {"num_gpus": 1} if cards and job.engine.device != "cpu" else {}
    return {"num_cpus": 0 if card else 1, "max_concurrency": 2, **card}


class _Actor:
    """What works somewhere in the cluster."""

    def __init__(self) -> None:
        self._frames = 0

    def frames(self) -> int:
        """That it has finished."""
        return self._frames

    def work(self, job: Job, share: Share) -> dict[str, Any]:
        """Do a share, and say how it ended."""
        return do_share(job, share, self._note)

    def _note(self, frames: int) -> None:
        self._frames = frames
