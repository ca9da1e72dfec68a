"""What a round costs on a real SuperLink with SuperNodes, and where an exchange's seconds go."""
