"""What box this is: its model, its sensors, and what Linux offers a small server."""
