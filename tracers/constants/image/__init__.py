"""A kernel's image: any file it comes in, read by address and by name."""
