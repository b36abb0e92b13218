"""What the usage tap costs: ``python -m tests.bench.tap [--json FILE]``."""
