"""The attack corpus: scripts that mean harm, each with the outcome it must have, and what runs them in processes."""
