"""What steps import to say more than a value: see ``buelon.core.step``."""
