"""The accounts: what the ledger says was used, against what the API says that it stated.

Forty agents of four clients call through one relay, in every way that an answer can go: whole,
refused and asked for again, broken off, left before and behind its head, asked for twice by an LLM
proxy on the way. Meanwhile the relay is reloaded, stopped and begun anew, and killed. Whenever it
is down ``relay usage`` must come to what the API stated, to the token; after a kill what ended in
its last second may be missing, and what was in flight.

    python -m tests.faults.accounts --calls 10000
"""
