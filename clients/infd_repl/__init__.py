"""`infc`, the client for people: a REPL, and commands for pipes and scripts."""
