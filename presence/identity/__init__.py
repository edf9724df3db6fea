"""Who sent a request and whether they may: the step before the handlers."""
