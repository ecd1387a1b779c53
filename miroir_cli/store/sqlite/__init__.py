"""The SQLite backend of the state store: one file, WAL, one writer at a time."""
