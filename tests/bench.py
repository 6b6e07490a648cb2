"""bench.py -- what bench/ must not get wrong: tests of its Python, with numbers made up. Run by bench.sh."""
import copy
import os
import sys
import tempfile
import unittest

SRC = sys.argv.pop(1)
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(SRC, "bench"))
import claims  # noqa: E402
import measures  # noqa: E402
import noise  # noqa: E402
import report  # noqa: E402
import run  # noqa: E402
from contenders import Bench  # noqa: E402
from procs import Failed  # noqa: E402

PAYLOAD = {"limit": 1452, "isolated": True, "fragments": 0, "blind": [],
           "tap": [{"measure": "upload", "contender": "antq", "datagrams": 9, "largest": 1452, "over": 0, "unseen": 0}]}


def measured(key, *rows, x_title=None):
    """A finished measure: rows of (contender, x, {metric: values})."""
    names = dict.fromkeys(name for _, _, values in rows for name in values)
    return {"id": key, "title": key, "note": "", "x_title": x_title, "rounds": 3, "foreign": 0,
            "metrics": [measures.metric(name, name, "us", "low") for name in names],
            "rows": [{"contender": c, "x": x, "runs": 3, "metrics": {k: measures.spread(v) for k, v in values.items()}}
                     for c, x, values in rows]}


def found(entries, text):
    return next(c for c in entries if text in c["text"])


class Machine(noise.Noise):
    """One whose loop takes these times, one after the other, and 100 in the end; its clock ticks when it is looked at."""

    def __init__(self, *script):
        self.script, self.now = list(script), 0
        super().__init__("none", clock=self.tick, sleep=lambda seconds: None)
        self.times = [100] * 10

    def tick(self):
        self.now += 1
        return self.now

    def read(self):
        self.times.append(self.script.pop(0) if self.script else 100)
        return self.times[-1]


class Noise(unittest.TestCase):
    def taken(self, machine, until):
        numbers = iter(range(1, 100))
        return machine.sample(lambda: next(numbers), until)

    def test_a_sample_of_a_quiet_machine_is_taken_once(self):
        machine = Machine(100, 109)
        self.assertEqual(self.taken(machine, 1000), 1)
        self.assertEqual((machine.summary()["slow"], machine.again, machine.kept), (0, 0, [109]))

    def test_it_begins_when_the_loop_is_fast(self):
        machine = Machine(200, 200, 100, 100)
        self.assertEqual(self.taken(machine, 1000), 1)
        self.assertEqual((machine.summary()["slow"], machine.again, len(machine.times)), (0, 0, 14))

    def test_one_that_was_slowed_down_is_taken_again(self):
        machine = Machine(100, 111, 100, 200, 100, 101)
        self.assertEqual(self.taken(machine, 1000), 3)
        self.assertEqual((machine.summary()["slow"], machine.again, machine.kept), (0, 2, [101]))

    def test_out_of_time_the_least_slow_one_counts(self):
        machine = Machine(100, 190, 100, 150, 100, 200)
        self.assertEqual(self.taken(machine, 6), 2)
        self.assertEqual((machine.summary()["slow"], machine.kept), (1, [150]))

    def test_without_time_there_is_one_at_once(self):
        machine = Machine(200, 180)
        self.assertEqual(self.taken(machine, 0), 1)
        self.assertEqual((machine.summary()["slow"], machine.again, machine.kept), (1, 0, [200]))
        self.assertTrue(machine.summary()["noisy"])

    def test_a_short_boost_is_not_the_measure(self):
        machine = Machine(100, 100)
        machine.times = [100] * 19 + [50]
        self.assertFalse(machine.is_slow(109))


class Handshakes(unittest.TestCase):
    latency = {"p50": 500, "p99": 900}

    def shaken(self, resumed_count, resumed):
        return Bench.shaken({"resumed": resumed_count, "handshakes_per_s": 2000}, 100, resumed, 0.02, 0.05, self.latency)

    def test_figures_of_what_was_asked_for(self):
        got = self.shaken(100, True)
        self.assertEqual((round(got["server_us"]), round(got["per_core"])), (200, 5000))
        self.shaken(0, False)

    def test_one_that_was_not_resumed_is_a_failure(self):
        for count, resumed in ((99, True), (0, True), (1, False), (100, False)):
            with self.assertRaises(Failed):
                self.shaken(count, resumed)


class Measures(unittest.TestCase):
    def test_contenders_take_turns(self):
        order = []
        measure = measures.Measure("ping", "", [])
        for name in "AB":
            measure.add(name, lambda name=name: order.append(name) or {"p50": len(order)})
        measure.run(3, 60, Machine(), lambda text: None)
        self.assertEqual("".join(order), "ABABAB")
        self.assertEqual([row["metrics"]["p50"]["median"] for row in measure.summary()["rows"]], [3, 4])

    def test_a_failure_is_told_and_gives_no_number(self):
        def fails():
            raise Failed("not resumed")
        measure = measures.Measure("ping", "", [])
        measure.add("A", fails)
        measure.run(5, 60, Machine(), lambda text: None)
        row = measure.summary()["rows"][0]
        self.assertEqual((row["runs"], row["failed"], row["metrics"]), (0, "not resumed", {}))

    def test_out_of_time_ends_after_a_whole_round(self):
        measure = measures.Measure("ping", "", [])
        measure.add("A", lambda: {"p50": 1})
        measure.run(5, -1, Machine(), lambda text: None)
        self.assertEqual(measure.rounds, 1)

    def test_every_measure_has_its_expected_time(self):
        bench = Bench("none", "none")
        bench.backends = ["boringssl"]
        for mode, (limit_s, runs, _, scale) in run.MODES.items():
            chosen = measures.everything(bench, mode, scale, 64 << 30)
            plan = run.Plan(chosen, mode, runs, print)
            self.assertLess(plan.expected_s(), limit_s)
        self.assertGreaterEqual(run.MODES["full"][1], 7)
        self.assertLessEqual(run.MODES["full"][0], 45 * 60)


class Plan(unittest.TestCase):
    def budgets(self, limit_s, *timed):
        """Of measures that are expected to take 100 s each, and take what they may."""
        chosen = [measures.Measure("ping", "", [], timed=t) for t in timed]
        plan = run.Plan(chosen, "bench", 1, print)
        plan.left = [(m, 100) for m in chosen]
        plan.limit_s, plan.later_s = limit_s, 0
        out = []
        while plan.left:
            out.append(round(plan.budget_s()))
            plan.limit_s -= out[-1]
            plan.left.pop(0)
        return out

    def test_time_to_spare_is_for_what_is_timed(self):
        self.assertEqual(self.budgets(530, True, True, False), [200, 200, 130])

    def test_too_little_time_is_shared_by_what_is_needed(self):
        self.assertEqual(self.budgets(165, True, True, False), [50, 50, 65])


class Claims(unittest.TestCase):
    def evaluate(self, *found_measures, payload=PAYLOAD, core=None):
        return claims.evaluate(found_measures, ["boringssl", "ipsec-mb"], payload, core)

    def goodput(self, antq, udp):
        return self.evaluate(measured("upload", ("antq", None, {"gbit": antq}), ("UDP plain", None, {"gbit": udp})))

    def test_met_at_the_aim_and_missed_below(self):
        for antq, met in ((15.1, True), (15, True), (14.9, False)):
            got = found(self.goodput([antq] * 3, [5] * 3), "Upload: encrypted, at least 3 times")
            self.assertEqual((got["met"], got["close"]), (met, False))
            self.assertAlmostEqual(got["value"], antq / 5)

    def test_close_where_the_quartiles_hold_the_aim(self):
        got = found(self.goodput([13, 16, 19], [5, 5, 5]), "Upload: encrypted, at least 3 times")
        self.assertEqual(claims.verdict(got), "met, but close")

    def test_less_is_better(self):
        for p50, met in ((56, True), (58, False)):
            got = self.evaluate(measured("ping", ("antq", None, {"p50": [p50]}), ("UDP plain", None, {"p50": [50]})))
            self.assertIs(found(got, "the median is at most 1.15")["met"], met)

    def test_what_was_not_measured_says_so(self):
        entries = self.evaluate(payload=dict(PAYLOAD, tap=[]))
        self.assertEqual({claims.verdict(c) for c in entries}, {"not measured"})

    def test_connections_are_compared_at_10_and_1000(self):
        rows = [("antq, 64 in flight", x, {"rate": [rate]}) for x, rate in ((1, 900), (10, 1000), (100, 1), (1000, 690))]
        got = found(self.evaluate(measured("requests-connections", *rows)), "64 in flight in all")
        self.assertEqual((got["value"], got["met"]), (0.69, False))

    def test_a_payload_above_the_limit_and_one_not_seen(self):
        large = copy.deepcopy(PAYLOAD)
        large["tap"][0]["largest"] = 1453
        for payload, met in ((PAYLOAD, True), (large, False), (dict(PAYLOAD, blind=["x"]), None), (dict(large, blind=["x"]), False)):
            self.assertIs(found(self.evaluate(payload=payload), "No contender's UDP payload")["met"], met)

    def test_memory_is_told_for_each_number_of_connections(self):
        got = self.evaluate(measured("idle", ("antq", None, {"kib": [5]})), measured("idle-100k", ("antq", None, {"kib": [4]})))
        self.assertEqual([found(got, f"Each of {n} idle")["met"] for n in ("1,000", "10,000", "100,000")], [False, None, True])

    def test_the_core_and_its_budget(self):
        for count, met in ((1030, True), (1031, False)):
            got = self.evaluate(core={"instructions": count, "budget": 1000})
            self.assertIs(found(got, "instructions per packet")["met"], met)


class Report(unittest.TestCase):
    def data(self, noisy):
        found_measures = [measured("upload", ("antq", None, {"gbit": [15, 16]}), ("UDP <plain>", None, {"gbit": [5, 5]})),
                          measured("streams", *[("antq", x, {"gbit": [x + 1]}) for x in (1, 1000)], x_title="streams")]
        return {"mode": "full", "unix_s": 0, "runs": 2, "foreign_max": 0.03, "bytes": 1 << 30, "seconds": 1,
                "machine": {"cpu": "a <cpu>", "cores": 2, "virtual": True, "system": "Linux", "antq": "antq", "peers": {},
                            "features": [], "memory_bytes": 1, "load_at_start": [0, 0, 0], "client_cores": [0],
                            "server_cores": [1]},
                "noise": {"noisy": noisy, "cv": 0.2 if noisy else 0.01, "worst": 2, "stolen": 0, "samples": 30, "slow": 3,
                          "again": 5, "readings": 90},
                "payload": PAYLOAD, "measures": found_measures, "not_measured": ["nothing"], "backends": ["boringssl"],
                "claims": claims.evaluate(found_measures, ["boringssl"], PAYLOAD)}

    def write(self, noisy):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "report.html")
            report.write(self.data(noisy), path)
            with open(path, encoding="utf-8") as f:
                return f.read()

    def test_it_stands_alone_and_is_escaped(self):
        text = self.write(False)
        for loaded in ("http:", "https:", "src=", "@import", "<script", "<link"):
            self.assertNotIn(loaded, text)
        self.assertIn("a &lt;cpu&gt;", text)
        self.assertIn("<polyline", text)
        self.assertEqual(text.count("<svg"), text.count("</svg>"))

    def test_noise_is_told(self):
        self.assertIn("too noisy to trust", self.write(True))
        self.assertNotIn("too noisy to trust", self.write(False))

    def test_all_claims_stand_in_it(self):
        text = self.write(False)
        for entry in self.data(False)["claims"]:
            self.assertIn(report.escape(entry["text"]), text)


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=0)
    failed = len(program.result.failures) + len(program.result.errors)
    print(f"{program.result.testsRun - failed} passed, {failed} failed")
    sys.exit(failed > 0)
