"""Where two backends meet: above both of them, which do not know each other."""
