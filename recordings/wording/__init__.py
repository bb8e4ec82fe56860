"""Words: numbers with units, addresses, and text of kernels made safe to show."""
