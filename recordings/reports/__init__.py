"""Reports: what recordings, kernels and this machine say, as text, Markdown, mail and JSON."""
