"""The ledger: events in, numbers out, up to the verdict; knows no file and no output."""
