import json

import pytest

from training.benchmarks.machines import main

WAYS = {
    "model": "tiny",
    "image_size": [64, 96],
    "parameters": 1_500_000,
    "gflop_per_read": 0.5,
    "device": "a processor, 2 threads",
    "torch": "2",
    "batch_size": 1,
    "chosen": "compiled int8",
    "threads": 1,
    "peaks": {"float32": 66.4},
    "timings": [
        {"name": "plain eager float32", "ms_per_read": 9, "speedup": 1, "share_of_peak": 0.25}
    ],
}
NEIGHBOURS = {
    "processors": 2,
    "rows": [
        {
            "policy": "sleep",
            "way": "w",
            "busy": 1,
            "ms_per_read": 5,
            "over_own_idle": 1.5,
            "over_idle_spin": 1.75,
        }
    ],
}


def test_the_page_has_a_section_a_machine_and_a_table_a_file(tmp_path) -> None:
    one, two = tmp_path / "reports" / "a", tmp_path / "reports" / "b"
    one.mkdir(parents=True)
    two.mkdir()
    (one / "about.txt").write_text("The first machine\n")
    (one / "nano.json").write_text(json.dumps(WAYS))
    (two / "neighbours.json").write_text(json.dumps(NEIGHBOURS))
    (two / "notes.md").write_text("By hand.\n")
    out = tmp_path / "page.md"
    assert main([str(tmp_path / "reports"), "--output", str(out)]) == 0
    text = out.read_text()
    assert text.index("## The first machine") < text.index("## b")
    assert "1.5 M parameters" in text
    assert "| plain eager float32 | 9.00 | 1.00 | 25% |" in text
    assert "| sleep | w | 1 | 5.00 | 1.50 | 1.75 |" in text
    assert text.endswith("By hand.\n")


@pytest.mark.parametrize("content", ["", "{}", '{"rows": 3}'])
def test_a_file_that_is_no_report_is_named(tmp_path, content, capsys) -> None:
    folder = tmp_path / "reports" / "a"
    folder.mkdir(parents=True)
    (folder / "spyv4.json").write_text(content)
    assert main([str(tmp_path / "reports"), "--output", str(tmp_path / "page.md")]) == 2
    assert "spyv4.json is no report" in capsys.readouterr().err
