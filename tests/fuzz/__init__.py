"""Coverage-guided fuzzing of what reads hostile bytes (see docs/testing.md)."""
