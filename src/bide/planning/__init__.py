"""A pipeline compiled into a plan; what is wrong with it is found here."""
