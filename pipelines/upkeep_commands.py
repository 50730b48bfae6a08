"""`records expire` and `maintain`: what the sensor and the schedule do, by hand."""

import click

from pipelines import options
from pipelines.options import open_store, print_json


@click.command()
@options.as_json
def expire(as_json: bool) -> None:
    """Close the batches whose time has ended, and remove what they no longer need.

    Commits can no longer be taken back then, and previews no longer be committed.
    """
    from resources.maintenance import Maintenance

    with open_store() as store:
        report = Maintenance(store, store.settings.actor).expire()
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.terminal import print_expiry

        print_expiry(report)


@click.command()
@options.as_json
def maintain(as_json: bool) -> None:
    """Keep the store's files few, sorted and needed; may be done at any time, beside anything else."""
    from resources.maintenance import Maintenance

    with open_store() as store:
        report = Maintenance(store, store.settings.actor).maintain()
    if as_json:
        print_json(report.to_dict())
    else:
        from pipelines.terminal import print_maintenance

        print_maintenance(report)
