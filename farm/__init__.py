"""Settings, wiring, the command and the embedded servers."""

import sys

# Where redis-py finds OpenTelemetry's SDK, it imports all of its metrics, which it is never told to
# use, in every process that starts. So it does not find it; farm.tracing brings it back.
sys.modules.setdefault("opentelemetry.sdk", None)  # type: ignore[arg-type]
