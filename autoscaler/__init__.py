"""How many workers there should be, and the means to have them."""
