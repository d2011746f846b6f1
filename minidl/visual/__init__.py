"""Pictures of networks and their training."""
