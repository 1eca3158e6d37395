"""The benchmark: how fast callbacks are settled over HTTP, in units of what the same database does by itself."""
