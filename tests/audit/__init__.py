"""Whether the locked dependencies have known vulnerabilities: `make audit`."""
