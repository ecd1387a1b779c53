"""The state store in Redis, for several hosts."""
