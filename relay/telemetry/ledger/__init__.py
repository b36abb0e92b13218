"""The ledger: a row for each call in an SQLite file, by whom and at what cost.

``Ledger`` is what the relay hands its finished calls to; `writer` writes them by a thread of its
own, to a file that `file` opens and `schema` describes. `reader` and `report` are for
`relay usage`, `upkeep` copies a file and deletes a person's rows.
"""

from relay.telemetry.ledger.ledger import Ledger

__all__ = ["Ledger"]
