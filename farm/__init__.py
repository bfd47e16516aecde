"""Settings, wiring, the command and the embedded servers."""
