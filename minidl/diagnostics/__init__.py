"""What a model is, what it costs, and whether its derivatives are right."""
