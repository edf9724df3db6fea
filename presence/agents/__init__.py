"""Publishing and watching user agents without I/O."""
