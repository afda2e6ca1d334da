import time

from detector_app.telemetry import LatencyWindow, RateMeter


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


def test_percentiles():
    window = LatencyWindow(size=100)
    assert window.percentiles() == {"p50": 0.0, "p95": 0.0}
    for value in range(1, 301):
        window.add(float(value))
    assert window.percentiles() == {"p50": 250.5, "p95": 295.05}
