"""What answers are rewarded for."""
