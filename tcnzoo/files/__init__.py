"""Files and documents: written whole or not at all, read within bounds."""
