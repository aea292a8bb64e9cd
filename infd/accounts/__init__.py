"""Users, their tokens and rights, and the SQLite store that they live in."""
