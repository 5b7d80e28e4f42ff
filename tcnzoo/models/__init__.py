"""Models: the public calls, what a backend answers, and the streaming state."""
