"""Models: which files there are, trying them out, loading them, and what memory they may take."""
