"""Real servers for one machine: SeaweedFS for S3, Valkey for Redis, both from wheels.

They listen on loopback only, keep their data, ports and keys in the directory they are given,
and end with the process that started them.
"""

from farm.embedded.errors import EmbeddedError
from farm.embedded.seaweedfs import SeaweedFS
from farm.embedded.servers import EmbeddedServers
from farm.embedded.valkey import Valkey

__all__ = ["EmbeddedError", "EmbeddedServers", "SeaweedFS", "Valkey"]
