"""A tiny run is disturbed again and again; its end has to be, bit for bit, that of a quiet one.

    python tests/chaos.py --kills=100 --seed=0 [--processes=2] [--folder=FOLDER] [--disk=MEGABYTES]

Kills, signals, a killed worker, a full disk and damaged checkpoints, at moments drawn over all
phases of preparation, pretraining, fine-tuning and evaluation; what a disturbed run leaves behind
is continued by the same command. Of several processes that train as one (launch/local.sh) one is
hit, and the others have to end, too. Status 1: an end differs, a process outlives its run, or a
start ends otherwise than it should. The full disk is a tmpfs, which takes root; for others it is a
bound on the size of files (RLIMIT_FSIZE), where making a folder or a small file does not fail.
"""

import argparse
import collections
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tests.experiment.ends import differences, end_of
from tests.experiment.run_process import PHASES, Disk, Run

# How often each is drawn.
KINDS = {
    "kill -9": 6,
    "kill -9 of a worker": 2,
    "SIGTERM": 3,
    "SIGINT": 3,
    "full disk": 4,
    "file cut": 2,
    "file removed": 2,
    "checkpoint removed": 1,
}
_DAMAGE = {"file cut": "cut", "file removed": "remove", "checkpoint removed": "all"}
_WORKING = ("drawing", "checking", "preparing")  # with worker processes
_SAVED = PHASES.index("pretraining: saving")  # from here on there are checkpoints
_HEEDING = ("pretraining", "pretraining: monitor")  # fine-tuning shows no sign of having begun
_CONTINUES = "the same command continues"
_PER_RUN = 9  # disturbances, then a run is left alone
_AHEAD = 5  # phases, so that a run does not come to its end at once
_LONGEST = 2.0  # seconds of a phase over which moments are drawn: some compile for a minute


class Chaos:
    """Disturbed runs, one after the other, in a room where a quiet one has ended."""

    def __init__(self, room: pathlib.Path, disk: Disk, seed: int, *, processes=1, say=print):
        self._room, self._disk, self._say = room, disk, say
        self._processes = processes
        self._random = random.Random(seed)
        self.hits = collections.Counter()  # (kind, phase)
        self.faults: list[str] = []
        self.ends = 0
        self._lasting = dict.fromkeys(PHASES, 0.3)

    def run(self, name: str) -> Run:
        return Run(self._room, name, processes=self._processes)

    def quiet(self) -> None:
        """The run that nobody disturbs."""
        run = self.run("quiet")
        run.start()
        before, since = "starting", time.monotonic()
        while run.running():
            if run.phase() != before:
                self._lasting[before] = min(time.monotonic() - since, _LONGEST)
                before, since = run.phase(), time.monotonic()
            time.sleep(0.005)
        if run.wait() != 0:
            raise SystemExit(f"the quiet run failed:\n{run.said}")
        self._whole = end_of(run.workdir)

    def disturb(self, kills: int) -> None:
        """Runs until so many disturbances have been made, each to its end."""
        number = 0
        while sum(self.hits.values()) < kills:
            number += 1
            run = self.run(f"disturbed-{number}")
            if number > 1 and self._random.random() < 0.7:
                run.forget(compiled=self._random.random() < 0.2)
            left = min(kills - sum(self.hits.values()), _PER_RUN)
            while left and self.disturbance(run):
                left -= 1
            self.finish(run)
            shutil.rmtree(run.workdir.parent)

    def disturbance(self, run: Run, kind: str = "", phase: str = "") -> bool:
        """One start that is disturbed, of a drawn kind at a drawn moment; False: it was faster."""
        kind = kind or self._random.choices([*KINDS], [*KINDS.values()])[0]
        phase = phase or self._draw_phase(run, kind)
        run.start()
        while run.running() and PHASES.index(run.phase()) < PHASES.index(phase):
            time.sleep(0.005)
        moment = time.monotonic() + self._random.uniform(0, self._lasting[phase])
        while run.running() and run.phase() == phase and time.monotonic() < moment:
            time.sleep(0.005)
        if not run.running():
            self._judge(run, "nothing", "the end", run.wait())
            return False
        phase = run.phase()
        if kind == "kill -9 of a worker" and not run.workers():
            kind = "kill -9"
        self._do(run, kind)
        status, what = run.wait(), ""
        self._disk.empty()
        if kind in _DAMAGE:
            # With results a run is done, and nobody needs its checkpoints to go on.
            ended = (run.workdir / "results.json").exists()
            what = "" if ended else run.damage(_DAMAGE[kind], self._random)
            kind = kind if what else "kill -9"
        self.hits[kind, phase] += 1
        done = self._judge(run, kind, phase, status)
        told = f"{sum(self.hits.values()):4d}  {kind} in {phase}: status {status}"
        self._say(f"{told}  {pathlib.Path(what).name if what else ''}")
        return not done

    def _draw_phase(self, run: Run, kind: str) -> str:
        """One that the run has not passed, of those that have been hit least."""
        first = run.reached()
        open_ = [PHASES[0], *PHASES[max(first, 1) : max(first, 1) + _AHEAD]]
        if kind == "kill -9 of a worker" and first < len(_WORKING):
            open_ = [*_WORKING[first:]]
        if kind in _DAMAGE:
            open_ = [*PHASES[max(first, _SAVED) :][:_AHEAD]]
        hit = {p: sum(n for (_, at), n in self.hits.items() if at == p) for p in open_}
        return self._random.choice([p for p in open_ if hit[p] == min(hit.values())])

    def _do(self, run: Run, kind: str) -> None:
        if kind == "kill -9 of a worker":
            run.signal(self._random.choice(run.workers() or run.members()), signal.SIGKILL)
        elif kind == "full disk":
            self._disk.fill(run, self._random.choice([0, 4096, 65536]))
        elif kind == "SIGINT":  # a terminal sends it to all; launch/local.sh passes it on
            for number in run.members() if run.processes == 1 else [run.process.pid]:
                run.signal(number, signal.SIGINT)
        else:
            one = self._random.choice(run.trainers() or run.members())
            run.signal(one, signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)

    def _judge(self, run: Run, kind: str, phase: str, status: int) -> bool:
        """Whether the run is done; what is not as it should be becomes a fault."""
        done = status == 0 and (run.workdir / "results.json").exists()
        told = f"{kind} in {phase}: status {status}"
        if not (done or self._expected(run, kind, phase, status)):
            self._fault(f"{told}, and it said:\n{run.said}")
        elif "Traceback" in run.said and phase != "starting" and kind not in _DAMAGE:
            self._fault(f"{told}, with a traceback:\n{run.said}")
        orphans = run.orphans()
        if orphans:
            self._fault(f"{told}: processes {orphans} live on")
        return done

    @staticmethod
    def _expected(run: Run, kind: str, phase: str, status: int) -> bool:
        """Whether a disturbed run has ended as it should."""
        stopped = status == 0 and _CONTINUES in run.said
        if run.processes > 1 and kind != "nothing":
            # Who is hit ends in its own way, and the others because they miss it.
            return stopped if status == 0 else kind != "SIGTERM" or phase not in _HEEDING
        return {
            "SIGTERM": status == -signal.SIGTERM or stopped,
            "SIGINT": (status in (0, 130) and _CONTINUES in run.said)
            or phase == "starting"
            or (status == -signal.SIGINT and (run.workdir / "results.json").exists()),
            "full disk": status == 2 and _one_line(run.said),
            "kill -9 of a worker": status == 2 and "worker processes was killed" in run.said,
            "nothing": False,
        }.get(kind, status == -signal.SIGKILL)

    def finish(self, run: Run) -> None:
        """Continues a run to its end, and compares."""
        for _ in range(3):
            run.start()
            status = run.wait()
            folder = run.only_damaged()
            if not folder:
                break
            shutil.rmtree(folder)  # what the refusal asks for
        if not self._judge(run, "nothing", "the end", status):
            return
        self.ends += 1
        differing = differences(end_of(run.workdir), self._whole)
        if differing:
            self._fault(f"{run.workdir.parent.name} ends otherwise: {', '.join(differing[:9])}")
        self._say(f"      end {self.ends}: {len(self._whole)} things, {len(differing)} differ")

    def _fault(self, words: str) -> None:
        self.faults.append(words)
        self._say(f"FAULT {words}")

    def table(self) -> str:
        """Disturbances by phase and kind."""
        kinds = [kind for kind in KINDS if any(k == kind for k, _ in self.hits)]
        width = max(map(len, PHASES))
        rows = [" " * width + "".join(f"  {kind}" for kind in kinds)]
        for phase in PHASES:
            cells = [f"  {self.hits[kind, phase] or '.':>{len(kind)}}" for kind in kinds]
            rows.append(f"{phase:{width}}" + "".join(cells))
        sums = [sum(n for (k, _), n in self.hits.items() if k == kind) for kind in kinds]
        rows.append(
            f"{'all':{width}}"
            + "".join(f"  {n:>{len(kind)}}" for kind, n in zip(kinds, sums, strict=True))
        )
        return "\n".join(rows)


def _one_line(said: str) -> bool:
    """Whether a full disk was told in one line, the last."""
    lines = said.strip().splitlines()
    told = [line for line in lines if line.startswith("dermjax: ")]
    words = ("the disk is full", "File too large", "too small")
    return len(told) == 1 and told[0] == lines[-1] and any(word in told[0] for word in words)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="that train as one")
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--disk", type=int, default=256, help="MB of the small disk")
    options = parser.parse_args()
    made = options.folder is None
    room = pathlib.Path(tempfile.mkdtemp(prefix="chaos-")) if made else options.folder
    began = time.monotonic()
    with Disk(room, options.disk) as disk:
        print("full disks:", "a tmpfs" if disk.own else "a bound on files (not root)", flush=True)

        def say(line):
            print(f"{time.monotonic() - began:6.0f} s {line}", flush=True)

        chaos = Chaos(room, disk, options.seed, processes=options.processes, say=say)
        chaos.quiet()
        say("the quiet run has ended")
        chaos.disturb(options.kills)
    if made:
        shutil.rmtree(room)
    print(f"\n{chaos.table()}\n\nseed {options.seed}: {chaos.ends} ends compared", end="; ")
    print(f"{sum(chaos.hits.values())} disturbances, {len(chaos.faults)} faults")
    for fault in chaos.faults:
        print(f"- {fault.splitlines()[0]}")
    return 1 if chaos.faults else 0


if __name__ == "__main__":
    sys.exit(main())
