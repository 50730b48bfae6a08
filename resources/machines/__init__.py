"""What several machines must know of each other: which processes live, and which of them executes a step."""
