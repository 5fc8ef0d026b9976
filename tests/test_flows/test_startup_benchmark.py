"""The start-up benchmark reads moments off a command's log, and sums rounds up."""

from benchmarks.startup import CPU, EXITED, MOMENTS, STAGES, moments, rows, stages, summary

LOG = """\
segmenting: 0 of 1 shards
{"time": "2026-01-01T00:00:02.000+00:00", "event": "command-began"}
{"time": "2026-01-01T00:00:05.500+00:00", "event": "server-ready"}
{"time": "2026-01-01T00:00:07.250+00:00", "event": "shard-done"}
{"time": "2026-01-01T00:00:09.000+00:00", "event": "shard-done"}
{"time": "2026-01-01T00:00:09.000+00:00", "event": "unknown"}
"""
BEGAN = 1767225601.0  # 2026-01-01T00:00:01Z


def test_moments_count_from_the_begin_and_the_first_counts():
    found = moments(LOG, BEGAN)
    assert found == {"process started": 1.0, "server answers": 4.5, "first shard": 6.25}


def one(seconds, **more):
    result = {"seconds": dict.fromkeys(STAGES, seconds)}
    return stages(result) | dict.fromkeys(MOMENTS, seconds) | {EXITED: seconds, CPU: 9.0} | more


def test_the_summary_holds_medians_and_what_both_executors_have():
    serial = [one(seconds) for seconds in (3.0, 1.0, 8.0)]
    for moment in ("Ray is ready", "network loaded"):
        del serial[1][moment]
    figures = summary({"serial": serial, "ray": [one(20.0), one(30.0), one(26.0)]})
    assert figures["rounds"] == {"serial": 3, "ray": 3}
    assert figures["serial"]["masks published"] == figures["serial"]["stage infer"] == 3.0
    assert (figures["serial"]["target"], figures["ray"]["target"]) == (15.0, 25.0)
    table = {row["seconds"]: (row["serial"], row["ray"]) for row in rows(figures)}
    assert table["exited"] == (3.0, 26.0)
    assert table["Ray is ready"] == (None, 26.0)
    assert next(iter(table)) == "process started"
