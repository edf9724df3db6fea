"""The database behind the roles."""
