"""What a vocabulary holds, and the files that it comes in."""
