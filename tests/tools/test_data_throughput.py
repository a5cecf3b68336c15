"""``python -m tools.data_throughput``: rates and lines of the report; the docs' commands run it on a dataset."""

import pytest

import tools
from tests.errors import wrong_usage
from tools.data_throughput import BATCH_SIZE, Throughput, report


def test_rates_are_those_of_the_median_batch_and_of_core_seconds() -> None:
    throughput = Throughput((0.5, 0.1, 0.2), core_s=0.4, stage_core_ms={"read": 1.0, "decode": 3.0}, size="8 x 4")
    assert throughput.crops_per_s == BATCH_SIZE / 0.2
    assert throughput.crops_per_core_s == BATCH_SIZE / 0.4
    assert "read 1.00 (25%), decode 3.00 (75%)" in report("freihand", throughput)


def test_no_batches_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with wrong_usage():
        tools.run("data_throughput", ["freihand/training:nowhere", "--batches", "0"])
    assert "--batches" in capsys.readouterr().err
