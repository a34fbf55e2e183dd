"""Stand-ins, which wait from their third step on while RUN/hold is there; and real jobs. Nodes import it."""

import time

from engine import optimize
from engine.bench.cluster.standin import StandIn
from engine.store import Store
from engine.worker import within
from tests.engine import jobs

HOLD, BEGUN = "hold", "begun"


def held_up(folder, more, device):
    """A unit that waits likewise, and has a byte in its folder each time that it begins."""
    with (folder / BEGUN).open("a") as file:
        file.write(".")
    while (folder.parents[2] / HOLD).exists():
        time.sleep(0.05)
    return more


class Mixed(StandIn):
    def wait(self, run, step):
        super().wait(run, step)
        while step > 2 and (run / HOLD).exists():
            time.sleep(0.05)

    def __call__(self, work, run, setup, line, scene):
        job, _ = work
        if job.prompt != jobs.PROMPT:
            return super().__call__(work, run, setup, line, scene)
        store = Store(run, job)
        return within(work, store, line, lambda: optimize.run(job, jobs.prior(), store, setup, line, scene.clock))
