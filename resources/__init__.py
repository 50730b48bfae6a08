"""The outside world, one class per thing: store, files, settings, clock. Knows schemas only."""
