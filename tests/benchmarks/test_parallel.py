"""Several processes in the benchmarks, without MPI: the model, the tables and the picture, how ranks take orders."""

import json
import subprocess
import sys

import pytest

from benchmarks import cluster, parallel, parallel_report, ranks
from benchmarks.cluster import Link, computing, doubling, measured_link, ring, strong, summing, weak
from benchmarks.ranks import Setting, groups, launcher
from minidl.errors import BackendError, RankError

LINK = Link("string", latency=1e-3, bandwidth=1e6)


def test_a_ring_sends_every_part_twice_around_and_doubling_sends_all_log2_times():
    assert ring(8e6, 4, LINK) == pytest.approx(6 * (1e-3 + 2.0))  # of four parts of 2 MB
    assert doubling(8e6, 4, LINK) == pytest.approx(2 * (1e-3 + 8.0))
    assert doubling(8e6, 5, LINK) == pytest.approx(3 * (1e-3 + 8.0))  # three rounds reach five ranks
    assert ring(8e6, 1, LINK) == doubling(8e6, 1, LINK) == 0


def test_the_faster_way_counts():
    assert summing(8e6, 64, LINK) == ring(8e6, 64, LINK) < doubling(8e6, 64, LINK)
    assert summing(4.0, 64, LINK) == doubling(4.0, 64, LINK) < ring(4.0, 64, LINK)


def test_the_link_is_found_again_in_its_times():
    found = measured_link({size: doubling(size, 2, LINK) for size in (1024, 65536, 4 << 20)})
    assert found.latency == pytest.approx(LINK.latency) and found.bandwidth == pytest.approx(LINK.bandwidth)
    assert measured_link({1024: 1e-3, 2048: 4e-3}).latency == 0  # never below


def test_a_step_is_interpolated_between_what_was_measured_and_proportional_above():
    measured = {1: 0.1, 4: 0.2, 16: 0.8}
    assert [computing(measured, n) for n in (1, 4, 16)] == pytest.approx([0.1, 0.2, 0.8])
    assert computing(measured, 2) == pytest.approx(0.1 * 2**0.5)
    assert computing(measured, 8) == pytest.approx(0.4)
    assert computing(measured, 1024) == pytest.approx(0.8 * 64)


def test_efficiency_is_what_computing_has_of_the_step():
    measured = {1: 0.01, 64: 0.64}  # no image cheaper than another
    wait = ring(1e6, 4, LINK)
    assert weak(measured, 1e6, 4, LINK, ring) == pytest.approx(0.64 / (0.64 + wait))
    assert strong(measured, 1e6, 4, LINK, ring) == pytest.approx(2.56 / (2.56 + wait))
    assert weak(measured, 1e6, 1, LINK) == strong(measured, 1e6, 1, LINK) == pytest.approx(1)


def test_the_published_links_are_slower_the_farther_they_reach():
    ethernet, infiniband, nvlink = cluster.PUBLISHED
    assert ethernet.bandwidth == pytest.approx(2.9e9, rel=0.01) and infiniband.bandwidth == 4 * ethernet.bandwidth
    assert nvlink.bandwidth < 450e9 and nvlink.most == 8  # of the 900 GB/s of both directions together


class Group:
    """Ranks without processes: a step of an image takes 10 ms and all ranks share it; messages move 1 MB in 1 ms."""

    def __init__(self, setting):
        self.task = setting
        digest = {"default": f"{setting.ranks}", "sync-bn": f"s{setting.ranks}"}.get(setting.mode, "same")
        loss = 5.0 if setting.ranks == 1 or setting.mode != "sync-bn" else 5.0 + 2e-6
        self.ready = [
            {"rank": r, "size": setting.ranks, "loss": loss, "digest": digest} for r in range(setting.ranks)
        ]

    def measure(self, what, *numbers):
        if what == "train":
            cores = self.task.ranks * self.task.threads
            seconds = 0.01 * self.task.batch_size * numbers[0] / cores
            return {"seconds": seconds, "cpu_seconds": seconds * cores, "peak_rss_mb": 600}
        return {"seconds": numbers[0] / 1e9}

    def close(self):
        pass


class Worker:
    failed = None

    def __init__(self, task):
        self.task = task

    def measure(self, what, steps):
        return {"seconds": 0.005 * steps * self.task.batch_size, "cpu_seconds": 0.0, "peak_rss_mb": 1}

    def close(self):
        return 0


@pytest.fixture
def nothing_starts(monkeypatch):
    monkeypatch.setattr(ranks, "Group", Group)
    monkeypatch.setattr("benchmarks.rounds.Worker", Worker)
    monkeypatch.setattr(parallel, "launcher", lambda: ["mpiexec"])


def run(monkeypatch, folder, *flags):
    monkeypatch.setattr(
        sys, "argv", ["parallel", "--threads", "2", "--rounds", "2", "--results", str(folder), *flags]
    )
    parallel.main()
    return json.loads((folder / "parallel.json").read_text())


def test_the_tables_and_the_picture(monkeypatch, tmp_path, nothing_starts, capsys):
    figures = run(monkeypatch, tmp_path)
    text = (tmp_path / "parallel.md").read_text()
    assert text.endswith(capsys.readouterr().out)
    assert "| one process x 2 threads | 200.0 | 1.000 | 600 MB |" in text
    assert "| 2 ranks x 1 thread, --exact | 200.0 | 1.000 | 600 MB |" in text
    assert "| one process x 1 thread, batch 32 | 100.0 | 0.500 | 600 MB |" in text
    assert "efficiency of 1.00 with 64" in text
    assert "all ranks of a setting have the same weights. With --exact the weights on 1, 2 and 4 ranks have" in text
    assert "the same bits" in text and "(5.0000) to 2e-06" in text
    assert "| 1,024 | 1 us | 1 us | 1 us | 1 us | 1 us | 1 us |" in text
    assert "| memory of this machine, measured | 0.0 us | 1.0 GB/s |" in text
    assert "This is a prediction. Nothing of it was run." in text and "can't know" in text
    assert (tmp_path / "parallel.png").read_bytes().startswith(b"\x89PNG")
    assert [*figures["computing"]] == ["refined", "resnet18"]
    assert figures["bytes"]["refined"] == pytest.approx(4 * 568_000, rel=0.01)
    assert figures["bytes"]["resnet18"] == pytest.approx(4 * 11.2e6, rel=0.02)


def test_ratios_are_those_of_the_same_round():
    class Busy:
        """A machine on which some rounds take longer."""

        def __init__(self, name, *seconds):
            self.task, self.clock = Setting(name, 1, 1), iter((1.0, 1.0, *seconds))

        def measure(self, what, steps):
            return {"seconds": next(self.clock), "peak_rss_mb": 1}

    seen = parallel.speeds([Busy("default", 1.0, 4.0, 2.0), Busy("exact", 1.25, 5.0, 10.0)], rounds=3)
    assert [of["ratio"] for of in seen.values()] == [1.0, 0.8]  # the medians alone would give 0.4


def test_what_differs_is_said_aloud():
    one = {"mode": "default", "ranks": 1, "agree": True, "loss": 5.0, "digest": "a"}
    synced, exact = one | {"mode": "sync-bn", "ranks": 2}, one | {"mode": "exact"}
    assert "the same bits" in parallel_report.same_part([one, synced, exact, exact | {"ranks": 2}])
    assert "DIFFERENT BITS" in parallel_report.same_part([one, synced, exact, exact | {"ranks": 2, "digest": "b"}])
    assert "NOT ALL RANKS" in parallel_report.same_part([one, synced | {"agree": False}, exact])


def test_what_is_measured_is_on_disk_before_the_next_part(monkeypatch, tmp_path, nothing_starts):
    def fails(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(parallel, "message_times", fails)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, tmp_path)
    assert "speeds" in json.loads((tmp_path / "parallel.json").read_text())
    assert "## The same weights" in (tmp_path / "parallel.md").read_text()


@pytest.mark.parametrize("threads, halves", [(2, 1), (7, 3), (8, 4)])
def test_two_ranks_have_no_more_threads_than_one_process(threads, halves):
    settings = parallel.contenders(threads, 3)
    assert {s.threads for s in settings if s.ranks == 2} == {halves}
    assert len({str(s) for s in settings}) == len(settings)


def test_one_thread_is_too_few_for_two_ranks(monkeypatch, tmp_path, nothing_starts, capsys):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, tmp_path, "--threads", "1")
    assert ended.value.code == 2 and "two ranks need --threads 2 or more" in capsys.readouterr().err


def test_without_mpi4py_there_is_one_line(monkeypatch):
    launcher.cache_clear()
    monkeypatch.setattr(ranks, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"^not found: mpi4py.*pip install -e '.\[mpi\]' mpich") as error:
        launcher()
    assert "\n" not in str(error.value)


# ------------------------------------------------------------ processes that are no ranks


@pytest.fixture
def ranks_of(monkeypatch):
    """Lets processes of a script of Python take the place of mpiexec's; they have the socket's path in `path`."""

    def replace(script):
        monkeypatch.setattr(ranks, "launcher", lambda: ["mpiexec"])
        original = subprocess.Popen

        def popen(command, **options):
            head = "import json, socket, sys; path = sys.argv[1]\n"
            return original([sys.executable, "-c", head + script, command[command.index("benchmarks.rank") + 1]])

        monkeypatch.setattr(ranks.subprocess, "Popen", popen)

    return replace


TWO = """
lines = []
for rank in (1, 0):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    lines.append(connection.makefile("rw"))
    print(json.dumps({"rank": rank, "size": SIZE}), file=lines[-1], flush=True)
for orders in zip(*lines):
    assert orders[0] == orders[1] == "train 3\\n"
    for seconds, line in enumerate(lines, 1):
        print(json.dumps({"seconds": seconds, "peak_rss_mb": 100}), file=line, flush=True)
"""


def test_the_slowest_rank_counts_and_memory_is_added(ranks_of):
    ranks_of(TWO.replace("SIZE", "2"))
    with groups([Setting("default", 2, 1)]) as (group,):
        assert [answer["rank"] for answer in group.ready] == [0, 1]
        assert group.measure("train", 3) == {"seconds": 2, "peak_rss_mb": 200}
    assert group.process.returncode == 0


def test_ranks_that_do_not_know_each_other_are_noticed(ranks_of):
    ranks_of(TWO.replace("SIZE", "1"))
    with pytest.raises(RankError, match="is mpiexec that of another MPI"), groups([Setting("default", 2, 1)]):
        pass


def test_processes_that_end_get_one_line(ranks_of):
    ranks_of("sys.exit(7)")
    message = "^2 ranks x 1 thread: the processes have ended with exit code 7$"
    with pytest.raises(RankError, match=message), groups([Setting("default", 2, 1)]):
        pass
