"""Engine bcc: BPF programs, compiled by BCC."""
