"""What a run decides on, worked out on the controller."""
