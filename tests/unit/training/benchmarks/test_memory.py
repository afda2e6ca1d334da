"""The benchmark of memory as a command; what it measures is measured in tests/integration."""

import json
from pathlib import Path

import pytest

from training.benchmarks import memory
from training.benchmarks.memory import READS, Memory, main, measure


def pretended(rule: str, reads: int) -> Memory:
    """300 MiB, and 100 more a read where the rule goes back through all of them."""
    return Memory(200.0, 300.0 + (100.0 * (reads - 1) if rule == "bptt" else 0.0))


def test_every_rule_is_measured_at_every_number_of_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "measure", pretended)
    written, drawn = tmp_path / "new" / "memory.json", tmp_path / "new" / "memory.png"
    assert main(["--json", str(written), "--figure", str(drawn)]) == 0
    rows = json.loads(written.read_text())
    assert [(row["rule"], row["reads"]) for row in rows] == [
        (rule, reads) for rule in ("fptt", "bptt") for reads in READS
    ]
    assert rows[-1] == {"rule": "bptt", "reads": 32, "before": 200.0, "peak": 3400.0}
    assert drawn.read_bytes().startswith(b"\x89PNG")
    lines = capsys.readouterr().out.splitlines()
    assert lines[5] == "fptt  32 reads: peak   300 MiB, x 1.000 of one read"
    assert lines[-1] == "bptt  32 reads: peak  3400 MiB, x 11.333 of one read"
    assert Memory(200.0, 300.0).training == 100


def test_a_measurement_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no memory left >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(RuntimeError, match=r"train\('bptt', 8\).* failed: no memory left"):
        measure("bptt", 8)
