"""What processes agree on: states, records, parts, queues, leases. Knows no codecs."""
