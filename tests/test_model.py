"""The model of a large deployment: its formula, its limits, and the tables of the page."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.model import Load, limits, predictions, saved_costs, tables, throughput

PAGE = Path(__file__).parent.parent / "deploy" / "README.md"


def test_the_throughput_grows_with_processes_up_to_the_busiest_part() -> None:
    assert throughput(1, cpu=1.0, lock=0.5, wait=0.5, cores=2) == pytest.approx(1 / 2.0)
    assert throughput(2, cpu=0.0, lock=0.0, wait=2.0, cores=1) == pytest.approx(1.0)  # they only wait
    # Two processes at one server, by hand: R = 1 x (1 + 1/2), with 1 second of waiting; X = 2 / 2.5.
    assert throughput(2, cpu=0.0, lock=1.0, wait=1.0, cores=1) == pytest.approx(2 / 2.5)
    assert throughput(500, cpu=1.0, lock=0.5, wait=0.5, cores=4) == pytest.approx(1 / 0.5, rel=0.01)
    assert throughput(500, cpu=4.0, lock=0.5, wait=0.5, cores=2) == pytest.approx(2 / 4.0, rel=0.01)


def test_each_limit_is_full_where_the_model_says() -> None:
    costs = saved_costs()
    for limit in limits(costs, Load()):
        if limit.name != "daemon and code server":  # its ticks do not grow with the imports
            full = next(
                it for it in limits(costs, replace(Load(), imports=int(limit.full_at))) if it.name == limit.name
            )
            assert full.share == pytest.approx(1, rel=0.05), limit.name
    shares = [it.share for it in limits(costs, Load())]
    assert shares == sorted(shares, reverse=True)


def test_the_page_has_the_tables_that_the_model_prints() -> None:
    assert tables(saved_costs(), Load()) in PAGE.read_text("utf-8")
    assert [number for number, *_ in predictions(saved_costs())] == [1, 2, 4]
