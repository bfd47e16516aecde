"""Which documents and messages this version of the farm understands.

While a farm is upgraded host by host, and after a step back, processes of several versions share
its storage and its queues. Every document and every message says from which schema on a process
understands it; one that knows less leaves it alone. What is new in a way that others may ignore,
such as one more field that has a default, is no new schema: others keep it as they find it.

To raise it: ``SCHEMA`` here, and ``schema_version`` in those documents alone that changed. A
message needs what the documents it leads to need, and waits on a queue of its own
(:func:`jobs.parts.queue_name`), which older workers do not serve.
"""

from __future__ import annotations

from typing import Final

#: The newest that this version understands; it understands all before it, too.
SCHEMA: Final = 1

#: The option of a message that says what its part needs.
NEEDS: Final = "schema"
