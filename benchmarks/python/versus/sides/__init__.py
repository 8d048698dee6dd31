"""Who is compared: a file for each, imported only where it is played."""
