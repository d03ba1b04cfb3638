"""What is wrong, or will be, before minutes are spent: small checks, each of which returns findings."""
