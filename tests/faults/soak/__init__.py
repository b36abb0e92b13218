"""The soak: streams and calls for minutes on end, while everything around the relay changes.

The upstream is killed and comes back, the credential is rotated, the configuration reloaded.
What is lost must be what the upstream itself lost: every failure is held against the times at
which it was down, every byte of every answer against what was to come.

    python -m tests.faults.soak --minutes 15
"""
