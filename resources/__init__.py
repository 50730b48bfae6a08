"""The outside world, one class per thing: store, files, settings, clock. Imports only schemas."""
