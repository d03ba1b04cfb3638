"""What a prompt would run into, told before it is queued."""
