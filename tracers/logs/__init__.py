"""Readers of what other tools wrote: each yields ``tracers.batch.Batch`` and promises no more."""
