"""Which names of accounts are alike."""

import pytest

from schemas.account_names import most_alike


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("acmee", "acme"),
        ("amce", "acme"),
        ("acm", None),
        ("globx", None),
        ("globexx-berlim", "globex-berlin"),
        ("globex", None),
        ("shop-3", None),
        ("shpo-2", "shop-2"),
        ("ub", None),
    ],
)
def test_a_name_with_one_mistake_or_two_in_a_long_name_is_alike(name: str, meant: str | None) -> None:
    assert most_alike(name, ["acme", "globex-berlin", "shop-1", "shop-2", "ua"]) == meant


def test_the_nearest_name_is_meant() -> None:
    assert most_alike("customers", ["customer", "consumers"]) == "customer"
