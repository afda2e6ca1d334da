import time

from detector_app.stream.telemetry import LatencyWindow, RateMeter, percentiles


def test_rate_of_regular_events(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    meter = RateMeter()
    assert meter.per_s == 0
    for _ in range(21):
        meter.tick()
        now += 0.1
    assert abs(meter.per_s - 10) < 1
    now += 60
    assert meter.per_s == 0


def test_percentiles_of_all_windows_together():
    windows = LatencyWindow(size=100), LatencyWindow(size=100)
    assert percentiles() == percentiles(*windows) == {"p50": 0.0, "p95": 0.0}
    for value in range(1, 301):
        windows[value % 2].add(float(value))
    assert percentiles(*windows) == {"p50": 200.5, "p95": 290.05}
    assert percentiles(windows[0]) == {"p50": 201.0, "p95": 290.1}
