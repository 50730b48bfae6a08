"""Checks whether the locked dependencies have known vulnerabilities: `make audit`."""
